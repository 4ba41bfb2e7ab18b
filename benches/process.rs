//! What the system says about a process.

use std::time::Duration;

use anyhow::Context;

/// A process on this machine, by its id.
pub struct Process(pub u32);

impl Process {
    /// Memory that it holds in RAM, in KiB.
    ///
    /// # Errors
    /// Where there is no `/proc`, or the process has ended.
    pub fn resident(&self) -> anyhow::Result<u64> {
        let path = format!("/proc/{}/status", self.0);
        let status = std::fs::read_to_string(path)?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next());
        Ok(kib.context("no VmRSS")?.parse()?)
    }

    /// Processor time that it has used, in its own code and in the kernel.
    ///
    /// # Errors
    /// As [`Process::resident`].
    pub fn busy(&self) -> anyhow::Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0))?;
        // The name before may hold blanks: fields count from behind its bracket (proc_pid_stat(5): utime 14, stime 15).
        let (_, fields) = stat.rsplit_once(')').context("no name")?;
        let times = fields.split_whitespace().skip(11).take(2);
        let mut ticks = 0;
        for time in times {
            ticks += time.parse::<u64>()?;
        }
        // USER_HZ is 100 on every Linux.
        Ok(Duration::from_millis(ticks * 10))
    }
}
