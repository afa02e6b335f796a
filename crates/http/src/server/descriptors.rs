//! How many connections this process may hold: each takes a file descriptor, and the store, logs and
//! workers need some, too.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// As many places as are wanted, but no more than so many sixteenths of what the system gives. What it
/// gives at first is raised to what it gives on demand.
#[must_use]
pub fn places(most: usize, sixteenths: usize) -> usize {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    // If it gives no more there are fewer places.
    let _ = setrlimit(Resource::Nofile, raised).is_ok();
    let current = getrlimit(Resource::Nofile).current;
    let given = current.and_then(|given| usize::try_from(given).ok());
    given
        .map_or(most, |given| most.min(given / 16 * sixteenths))
        .max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_never_more_places_than_descriptors() {
        let given = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
        assert!(places(usize::MAX, 9) as u64 <= given / 16 * 9 + 1 || given == u64::MAX);
        assert_eq!(places(10, 9), 10);
    }
}
