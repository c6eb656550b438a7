//! Control groups that limit a node's memory and processes, in version 2 or 1, whichever the
//! machine has.

use std::fs;
use std::path::{Path, PathBuf};

const ROOT: &str = "/sys/fs/cgroup";

/// A control group of one controller; removed when dropped.
pub struct Group {
    path: PathBuf,
    is_version_2: bool,
}

impl Group {
    /// A group for `memory` or `pids`; the error says why this machine cannot have one.
    pub fn new(controller: &str) -> Result<Self, String> {
        let name = format!("gsf-{}", std::process::id());
        let words = |file: &str| fs::read_to_string(format!("{ROOT}/{file}")).unwrap_or_default();
        let has_it = |file: &str| words(file).split_whitespace().any(|word| word == controller);
        let is_version_2 = has_it("cgroup.controllers");
        let path = if is_version_2 {
            if !has_it("cgroup.subtree_control") {
                let file = format!("{ROOT}/cgroup.subtree_control");
                fs::write(&file, format!("+{controller}"))
                    .map_err(|error| format!("{file}: +{controller}: {error}"))?;
            }
            Path::new(ROOT).join(name)
        } else {
            Path::new(ROOT).join(controller).join(name)
        };
        fs::create_dir(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self { path, is_version_2 })
    }

    /// The file to which a process writes its id in order to join.
    pub fn procs_file(&self) -> String {
        self.path.join("cgroup.procs").to_string_lossy().into_owned()
    }

    fn file(&self, version_2: &str, version_1: &str) -> PathBuf {
        self.path.join(if self.is_version_2 { version_2 } else { version_1 })
    }

    fn write(&self, path: &Path, value: &str) -> Result<(), String> {
        fs::write(path, value).map_err(|error| format!("{} = {value}: {error}", path.display()))
    }

    /// Bytes in use.
    pub fn memory(&self) -> Result<u64, String> {
        number(&self.file("memory.current", "memory.usage_in_bytes"))
    }

    /// Limits the group to this many bytes.
    pub fn limit_memory(&self, bytes: u64) -> Result<(), String> {
        // Swap would defer the limit; some machines have none to forbid.
        let _ = fs::write(self.path.join("memory.swap.max"), "0");
        let file = self.file("memory.max", "memory.limit_in_bytes");
        self.write(&file, &bytes.to_string())
    }

    /// The number of processes that the kernel has killed for lack of memory.
    pub fn killed(&self) -> u64 {
        self.event("memory.events", "memory.oom_control", "oom_kill")
    }

    /// The number of processes and threads in the group.
    pub fn processes(&self) -> Result<u64, String> {
        number(&self.path.join("pids.current"))
    }

    /// Limits the number of processes and threads, or lifts the limit.
    pub fn limit_processes(&self, most: Option<u64>) -> Result<(), String> {
        let most = most.map_or("max".into(), |most| most.to_string());
        self.write(&self.path.join("pids.max"), &most)
    }

    /// How often the kernel has refused a new thread.
    pub fn refused(&self) -> u64 {
        self.event("pids.events", "pids.events", "max")
    }

    fn event(&self, version_2: &str, version_1: &str, name: &str) -> u64 {
        let text = fs::read_to_string(self.file(version_2, version_1)).unwrap_or_default();
        let count = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok();
        text.lines().find_map(count).unwrap_or(0)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // A group cannot be removed while a process is in it; `--clean` removes those of earlier
        // runs.
        let _ = fs::remove_dir(&self.path);
    }
}

fn number(path: &Path) -> Result<u64, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    text.trim().parse().map_err(|error| format!("{}: {text:?}: {error}", path.display()))
}

/// Removes the empty groups of runs that were killed.
pub fn clean_leftovers(pids: &[u32]) {
    for pid in pids {
        for folder in ["", "memory", "pids"] {
            let _ = fs::remove_dir(Path::new(ROOT).join(folder).join(format!("gsf-{pid}")));
        }
    }
}
