//! When this machine was started.

use cloudai_model::Wall;

/// When this machine was started, by its wall clock as that is now; `None` where the kernel doesn't
/// say.
#[must_use]
pub fn booted_at() -> Option<Wall> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    parse(&stat)
}

/// From `btime` of `/proc/stat`, in whole Unix seconds (proc(5)).
fn parse(stat: &str) -> Option<Wall> {
    let line = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
    line.trim().parse().ok().map(Wall::from_unix_seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_says_when_it_began() {
        let stat = "cpu  1 2 3\nintr 4 5\nctxt 6\nbtime 1767225600\nprocesses 7\n";
        assert_eq!(parse(stat), Some(Wall(1_767_225_600_000)));
        assert_eq!(parse("cpu  1 2 3\n"), None);
        assert!(booted_at().is_some());
    }
}
