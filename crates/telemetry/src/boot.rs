//! Which run of this machine it is.

/// The kernel's name for this run of the machine, which another start does not share; `None` where it
/// doesn't say (random(4)). No clock has a part in it.
#[must_use]
pub fn boot_id() -> Option<String> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let id = id.trim();
    (!id.is_empty()).then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_names_this_run_and_goes_on_naming_it_so() {
        let id = boot_id();
        assert!(id.as_ref().is_some_and(|id| id.len() == 36), "{id:?}");
        assert_eq!(boot_id(), id);
    }
}
