//! A way between two programs that can be cut: a port that passes everything on to another.

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::broadcast,
    task::JoinHandle,
};

/// See the module. Gone when dropped.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    cuts: broadcast::Sender<()>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// Passes on to a port of this machine.
    ///
    /// # Panics
    /// If there is no free port.
    pub async fn to(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("there are free ports");
        let port = listener.local_addr().expect("it is bound").port();
        let (cuts, _) = broadcast::channel(1);
        let cut = cuts.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(pass_on(near, target, cut.subscribe()));
            }
        });
        Self {
            port,
            cuts,
            accepting,
        }
    }

    /// The port to connect to.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Breaks every connection in the midst of whatever is under way. New ones are taken.
    pub fn cut(&self) {
        // Nobody listens where nothing is connected.
        let _ = self.cuts.send(()).is_ok();
    }
}

async fn pass_on(mut near: TcpStream, target: u16, mut cut: broadcast::Receiver<()>) {
    let Ok(mut far) = TcpStream::connect(("127.0.0.1", target)).await else {
        return;
    };
    tokio::select! {
        _ = copy_bidirectional(&mut near, &mut far) => {}
        _ = cut.recv() => {}
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}
