//! Old nodes and ours together: an old worker under our master, and our worker under an old
//! master, over plain loopback and, with `-insecure`, from another machine.
//!
//! Each story is told in both places.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

/// Tells each story here and elsewhere.
macro_rules! both_places {
    ($($story:ident),+ $(,)?) => {
        mod here {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $story() {
                super::$story(cloudai_tests::old_nodes::Place::here()).await;
            })+
        }
        mod elsewhere {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $story() {
                super::$story(cloudai_tests::old_nodes::Place::elsewhere()).await;
            })+
        }
    };
}

mod old_master;
mod old_worker;
