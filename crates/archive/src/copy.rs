//! All of one store into another, of the same kind or not.

use cloudai_store::Holdings;

use crate::{
    Progress, TransferError,
    place::{PlaceError, StorePlace},
    transfer,
};

/// Why a store was not copied.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The store that is copied can't be read.
    #[error("the store to copy can't be read")]
    From(#[source] PlaceError),
    /// It holds what only a master can take up.
    #[error(
        "{place} holds {count} documents that an earlier program wrote and no master has taken up \
         yet: start a master on it once, which does that, stop it, and copy then"
    )]
    NotTakenUp {
        /// Which.
        place: String,
        /// How many.
        count: u64,
    },
    /// The store that it is copied to can't be filled.
    #[error("the store to copy to can't be filled")]
    To(#[source] PlaceError),
    /// On the way.
    #[error(transparent)]
    Transfer(#[from] TransferError),
}

/// What was copied.
#[derive(Debug)]
pub struct Copied {
    /// From where.
    pub from: String,
    /// Where to.
    pub to: String,
    /// How much.
    pub holdings: Holdings,
}

/// Copies all of a store that no master is at work on into one that is empty, and reads it back.
///
/// # Errors
/// See [`CopyError`]. What is copied is not changed; what was half filled is refused by every master
/// and begun anew by the next copy.
pub async fn copy(
    from: &StorePlace,
    to: &StorePlace,
    progress: Progress,
) -> Result<Copied, CopyError> {
    let source = from.read_idle().await.map_err(CopyError::From)?;
    let place = source.export.describe();
    let unreadable = |cause| {
        let place = place.clone();
        CopyError::Transfer(TransferError::Read { place, cause })
    };
    let count = source.export.holdings().await.map_err(unreadable)?;
    if count.not_taken_up > 0 {
        let (place, count) = (place.clone(), count.not_taken_up);
        return Err(CopyError::NotTakenUp { place, count });
    }
    let what = format!("a copy of {place}");
    let filling = to.fill(&what).await.map_err(CopyError::To)?;
    let target = filling.store();
    let sent = transfer::transfer(&source.export, &target, |_| {}, &progress).await?;
    let back = filling.reader().map_err(CopyError::To)?;
    transfer::compare(&sent, &back, &progress, drop).await?;
    let to = target.describe();
    drop((target, back));
    filling.finish(None).await.map_err(CopyError::To)?;
    Ok(Copied {
        from: place,
        to,
        holdings: sent.holdings,
    })
}
