//! Logins: how many a second, beside what one core hashes with the same parameters.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use argon2::{Algorithm, Argon2, Params, Version};
use cloudai_tests::web::Connection;
use tokio::{task::JoinSet, time::Instant};

use crate::{
    probe::{Probe, Waits},
    site::{PASSWORD, Site, login, print_memory},
};

const CONNECTIONS: [usize; 2] = [1, 16];
const SPAN: Duration = Duration::from_secs(10);
const HASHING: Duration = Duration::from_secs(3);
/// Logins of one user from one address that cost nothing are 300.
const USERS_OF_EACH: usize = 8;

/// Measures and prints.
pub(crate) async fn run() {
    let site = Site::start(&[]).await;
    let most = CONNECTIONS.into_iter().max().unwrap_or_default();
    for number in 0..most * USERS_OF_EACH {
        site.user(&name(number)).await;
    }
    let small = site.small_request().await;
    let before = site.memory_before();
    let idle = Probe::idle(site.at(), small.clone()).await;
    println!("\nlogins, each connection from an address of its own");
    println!(
        "{:<34}{:>10}{:>14}{:>8}{:>10}",
        "connections", "logins/s", "hashes/s", "ratio", "refused"
    );
    let mut waits = vec![("idle".to_owned(), idle)];
    for connections in CONNECTIONS {
        let hashes = tokio::task::spawn_blocking(hashes_per_s).await.unwrap();
        let probe = Probe::start(site.at(), small.clone());
        let (logins, refused) = logins_per_s(&site, connections).await;
        waits.push((
            format!("while {connections} connections log in"),
            probe.end().await,
        ));
        println!(
            "{connections:<34}{logins:>10.1}{hashes:>14.1}{:>8.2}{refused:>10}",
            logins / hashes
        );
    }
    print_memory(&site, before);
    Waits::print_head();
    for (when, waits) in waits {
        waits.print(&when);
    }
    site.cluster.end().await;
}

fn name(number: usize) -> String {
    format!("user-{number}")
}

/// Logins a second, and how many were answered that too many log in.
async fn logins_per_s(site: &Site, connections: usize) -> (f64, usize) {
    let mut asking = JoinSet::new();
    let began = Instant::now();
    for number in 0..connections {
        let at = site.at().to_owned();
        asking.spawn(async move {
            let from = Ipv4Addr::new(127, 0, 1, 1 + u8::try_from(number).expect("a few"));
            let mut connection = Connection::open_from(IpAddr::V4(from), &at).await;
            let (mut done, mut refused) = (0, 0);
            while began.elapsed() < SPAN {
                let user = number * USERS_OF_EACH + (done + refused) % USERS_OF_EACH;
                let reply = connection.ask(&login(&name(user))).await;
                match reply.status {
                    503 => refused += 1,
                    _ => {
                        reply.expect(200);
                        done += 1;
                    }
                }
            }
            (done, refused)
        });
    }
    let counts = asking.join_all().await;
    let done: usize = counts.iter().map(|(done, _)| done).sum();
    let refused = counts.iter().map(|(_, refused)| refused).sum();
    (done as f64 / began.elapsed().as_secs_f64(), refused)
}

/// Hashes that one core makes a second with the parameters that are the default of a master.
fn hashes_per_s() -> f64 {
    let params = Params::new(19_456, 2, 1, None).expect("they are argon2's");
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let began = Instant::now();
    let mut count = 0;
    let mut hash = [0; 32];
    while began.elapsed() < HASHING {
        let salt = [count as u8; 16];
        argon2
            .hash_password_into(PASSWORD.as_bytes(), &salt, &mut hash)
            .unwrap();
        count += 1;
    }
    f64::from(count) / began.elapsed().as_secs_f64()
}
