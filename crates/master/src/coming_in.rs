//! The HTTP server, and who may come in by it: the server is there from the start, accounts once the
//! store has been read.

use std::{sync::Arc, time::Duration};

use cloudai_accounts::OpenError;
use cloudai_http::{Context, Tls, TlsError, router, serve};
use cloudai_operator::Operator as _;
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tracing::warn;

use crate::{
    accounts::{self, KeptAccounts, Opened, ToShow},
    operations::Master,
    settings::Settings,
};

/// How often what counts no more is forgotten.
const TEND_INTERVAL: Duration = Duration::from_secs(60);

/// Serves HTTP on `listener` until `closing` says so.
///
/// # Errors
/// If certificate and key can't be used.
pub fn serve_http(
    listener: TcpListener,
    master: Arc<Master>,
    accounts: Opened,
    settings: &Settings,
    closing: watch::Receiver<bool>,
) -> Result<JoinHandle<()>, TlsError> {
    let tls = settings.access.tls.clone().map(Tls::watching).transpose()?;
    let http = cloudai_http::Settings {
        origins: settings.access.origins.clone(),
        is_secure: tls.is_some(),
        proxies: settings.access.proxies.clone(),
        hosts: settings.access.hosts.clone(),
        most_connections: settings.access.http_connections,
        most_sockets: settings.access.websockets,
        most_sockets_of_user: settings.access.user_websockets,
        ..cloudai_http::Settings::default()
    };
    let context = Context::new(master, accounts, http.clone(), closing.clone());
    let router = router(context.clone());
    Ok(tokio::spawn(async move {
        serve(listener, router, tls, &http, closing).await;
        // Their last words go on behind the connections.
        context.sockets_closed().await;
    }))
}

/// Whoever may come in.
pub struct Admission {
    /// The accounts, once they are open.
    pub accounts: Opened,
    /// The admin that a first start makes, once it is to be shown.
    pub first_admin: mpsc::Receiver<ToShow>,
    /// Opens accounts and looks after them; ends only if they can't be opened, with the reason.
    pub tending: JoinHandle<OpenError>,
}

/// Opens the accounts once the store has been read, and looks after them from then on.
#[must_use]
pub fn admit(
    master: Arc<Master>,
    settings: &Settings,
    mut is_read: watch::Receiver<bool>,
) -> Admission {
    let (opened, accounts) = watch::channel(None);
    let (tell_first, first_admin) = mpsc::channel(1);
    let (access, data_dir) = (settings.access.clone(), settings.data_dir.clone());
    let tending = tokio::spawn(async move {
        if is_read.wait_for(|is_read| *is_read).await.is_err() {
            // It never will be read: the master ends, and says why itself.
            std::future::pending::<()>().await;
        }
        let kept = KeptAccounts::of(&master);
        let issuer = master.snapshot().cluster.to_string();
        let accounts = accounts::open(kept, data_dir, &access, issuer, tell_first).await;
        let accounts = match accounts {
            Ok(accounts) => accounts,
            Err(error) => return error,
        };
        opened.send_replace(Some(accounts.clone()));
        loop {
            tokio::time::sleep(TEND_INTERVAL).await;
            if let Err(error) = accounts.tend(cloudai_clock::now()).await {
                let error = &error as &dyn std::error::Error;
                warn!(error, "accounts were not tended; it is tried again");
            }
        }
    });
    Admission {
        accounts,
        first_admin,
        tending,
    }
}
