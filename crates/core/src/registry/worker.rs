//! One registered worker: what it is, what it offers, what of it is promised.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use cloudai_model::{
    AttemptId, Capacity, DeviceShare, GpuRequest, Grant, HostUsage, Mono, Resources, Wall,
    WorkerAddress, WorkerId, WorkerStatus, record::WorkerRecord, resources::WHOLE_DEVICE,
};

use crate::{
    explain::{Obstacle, ResourceKind},
    input::Held,
};

/// A worker as the registry holds it, and as readers see it in a snapshot.
#[derive(Debug, Clone, PartialEq)]
pub struct Worker {
    /// Its id.
    pub id: WorkerId,
    /// Where it is dialled.
    pub address: WorkerAddress,
    /// Tells this registration from an earlier one of the same id.
    pub registration: u64,
    /// When the admin registered it.
    pub registered_at: Wall,
    /// What it offers, or last offered; `None` if it was never seen.
    pub capacity: Option<Capacity>,
    /// Its program's version; `None` for an old node or one never seen.
    pub version: Option<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Which start of its program was last heard of.
    pub incarnation: Option<String>,
    /// Which start of its program said what it offers, if it said which it was.
    pub introduced_as: Option<String>,
    /// When that start of its program said so first.
    pub introduced_at: Option<Mono>,
    /// Which data directory it works from: tells two programs with one id apart.
    pub home: Option<String>,
    /// Whether it was heard of lately.
    pub active: bool,
    /// Whether it has said what it offers since this master started.
    pub introduced: bool,
    /// Whether it is given nothing new, by an admin's wish.
    pub draining: bool,
    /// Why it takes nothing new, in its own words.
    pub unwell: Option<String>,
    /// When it was last heard of, for timers.
    pub last_heard: Option<Mono>,
    /// When it was last heard of, for people.
    pub last_seen_at: Option<Wall>,
    /// What its machine uses.
    pub usage: HostUsage,
    /// What it last said that it holds.
    pub reported: Option<Arc<HeldReport>>,
    /// What is promised of it.
    pub allocated: Allocated,
    /// The attempts it was given and that have not ended.
    pub attempts: BTreeSet<AttemptId>,
    /// It refused or could not be reached lately: nothing new until then.
    pub hold_off: Option<HoldOff>,
    /// Tasks failed on it in a row: nothing new until then.
    pub set_aside: Option<SetAside>,
    /// When it was last given a task, in assignments of the whole cluster.
    pub turn: u64,
}

/// What a worker said in a heartbeat of the attempts that it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldReport {
    /// When.
    pub at: Mono,
    /// The attempts, by id.
    pub held: Vec<Held>,
    /// The highest assignment number it had taken in; `None` from an old node.
    pub last_sequence: Option<u64>,
}

/// Why and for how long a worker is left alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldOff {
    /// Until then.
    pub until: Mono,
    /// The refusal, or why it was not reached.
    pub reason: String,
    /// How many times in a row.
    pub times: u32,
}

/// Why and for how long a worker is set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAside {
    /// Until then.
    pub until: Mono,
    /// For how long altogether.
    pub span: Duration,
    /// What has failed there.
    pub reason: String,
}

/// What is promised of a worker, exactly.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Allocated {
    /// Thousandths of a core.
    pub cpu_milli: u64,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Bytes of disk.
    pub storage_bytes: u64,
    /// Milli-GPUs by device index; devices beyond its end are free.
    pub device_milli: Vec<u32>,
}

impl Allocated {
    pub(super) fn add(&mut self, grant: &Grant) {
        self.cpu_milli += grant.cpu_milli;
        self.memory_bytes += grant.memory_bytes;
        self.storage_bytes += grant.storage_bytes;
        for share in &grant.devices {
            let index = usize::from(share.device);
            if self.device_milli.len() <= index {
                self.device_milli.resize(index + 1, 0);
            }
            self.device_milli[index] += u32::from(share.milli);
        }
    }

    /// Takes back what [`Self::add`] added; grants are only ever taken back once and whole.
    pub(super) fn subtract(&mut self, grant: &Grant) {
        self.cpu_milli -= grant.cpu_milli;
        self.memory_bytes -= grant.memory_bytes;
        self.storage_bytes -= grant.storage_bytes;
        for share in &grant.devices {
            self.device_milli[usize::from(share.device)] -= u32::from(share.milli);
        }
    }

    /// Whether both say the same; devices that nothing is promised of may be left out.
    pub(crate) fn equals(&self, other: &Self) -> bool {
        let devices = self.device_milli.len().max(other.device_milli.len());
        let milli = |of: &Self, device| of.device_milli.get(device).copied().unwrap_or(0);
        self.cpu_milli == other.cpu_milli
            && self.memory_bytes == other.memory_bytes
            && self.storage_bytes == other.storage_bytes
            && (0..devices).all(|device| milli(self, device) == milli(other, device))
    }

    /// Milli-GPUs over all devices.
    #[must_use]
    pub fn gpu_milli(&self) -> u32 {
        self.device_milli.iter().sum()
    }
}

impl Worker {
    /// A worker that was registered and not heard of since this process began.
    #[must_use]
    pub fn from_record(record: WorkerRecord) -> Self {
        Self {
            id: record.worker,
            address: record.address,
            registration: record.registration,
            registered_at: record.registered_at,
            capacity: record.capacity,
            version: record.version,
            labels: record.labels,
            incarnation: None,
            introduced_as: None,
            introduced_at: None,
            home: None,
            active: false,
            introduced: false,
            draining: record.draining,
            unwell: None,
            last_heard: None,
            last_seen_at: record.last_seen_at,
            usage: HostUsage::default(),
            reported: None,
            allocated: Allocated::default(),
            attempts: BTreeSet::new(),
            hold_off: None,
            set_aside: None,
            turn: 0,
        }
    }

    /// Whether a program that works from `home` can be this worker: it is the one heard of before,
    /// or that one has fallen silent. Old nodes don't say where they work from, so one is told from
    /// a new node alone.
    pub(crate) fn may_be_at(&self, home: Option<&str>) -> bool {
        let is_another = match (&self.home, home) {
            (Some(known), Some(home)) => known != home,
            (Some(_), None) => true,
            (None, Some(_)) => self.introduced && self.is_old_node(),
            (None, None) => false,
        };
        !(is_another && self.active)
    }

    /// What of it is stored.
    #[must_use]
    pub fn to_record(&self) -> WorkerRecord {
        WorkerRecord {
            worker: self.id.clone(),
            address: self.address.clone(),
            capacity: self.capacity,
            version: self.version.clone(),
            labels: self.labels.clone(),
            registration: self.registration,
            registered_at: self.registered_at,
            last_seen_at: self.last_seen_at,
            draining: self.draining,
        }
    }

    /// Whether it can be given tasks, in the contract's word.
    #[must_use]
    pub fn status(&self) -> WorkerStatus {
        match (self.active, self.draining) {
            (false, _) => WorkerStatus::Inactive,
            (true, true) => WorkerStatus::Draining,
            (true, false) => WorkerStatus::Active,
        }
    }

    /// What a task with these needs would get here now.
    ///
    /// # Errors
    /// The first thing that stands against it.
    pub fn fit(&self, request: &Resources, now: Mono) -> Result<Grant, Obstacle> {
        // What time doesn't change is said first.
        if let Some(capacity) = &self.capacity {
            could_hold(capacity, request)?;
        }
        self.willing(now)?;
        self.room_for(request)
    }

    /// Everything that stands against a task with these needs, of what time doesn't change
    /// first; nothing: [`Self::fit`] grants it.
    #[must_use]
    pub fn obstacles(&self, request: &Resources, now: Mono) -> Vec<Obstacle> {
        let Some(capacity) = &self.capacity else {
            return vec![Obstacle::NeverSeen];
        };
        let mut obstacles: Vec<_> = never_held(capacity, request).collect();
        let never: Vec<_> = obstacles.iter().filter_map(Obstacle::kind).collect();
        obstacles.extend(self.willing(now).err());
        let devices = self.devices_for(request.gpu, capacity.gpus).err();
        let short = self.short_now(capacity, request).chain(devices);
        // What is short for ever is not said once more.
        obstacles
            .extend(short.filter(|short| short.kind().is_none_or(|kind| !never.contains(&kind))));
        obstacles
    }

    /// What of it is not free now, but for devices.
    fn short_now(
        &self,
        capacity: &Capacity,
        request: &Resources,
    ) -> impl Iterator<Item = Obstacle> {
        let taken = &self.allocated;
        let taken = [taken.cpu_milli, taken.memory_bytes, taken.storage_bytes];
        let amounts = amounts(capacity, request).into_iter().zip(taken);
        amounts.filter_map(|((kind, want, total), taken)| {
            // A worker that came back smaller may have more taken than it offers.
            let free = total.saturating_sub(taken);
            (want > free).then(|| Obstacle::Short {
                kind,
                by: want - free,
                never: false,
            })
        })
    }

    /// Whether it is a node of the time before versions. One never seen may be new.
    #[must_use]
    pub fn is_old_node(&self) -> bool {
        self.capacity.is_some() && self.version.is_none()
    }

    /// Whether it may be given anything at all.
    pub(super) fn willing(&self, now: Mono) -> Result<(), Obstacle> {
        if self.capacity.is_none() {
            return Err(Obstacle::NeverSeen);
        }
        if !self.active {
            return Err(Obstacle::Inactive);
        }
        if self.draining {
            return Err(Obstacle::Draining);
        }
        if let Some(reason) = &self.unwell {
            return Err(Obstacle::Unwell(reason.clone()));
        }
        if let Some(aside) = &self.set_aside
            && aside.until > now
        {
            return Err(Obstacle::SetAside(aside.reason.clone()));
        }
        match &self.hold_off {
            Some(hold_off) if hold_off.until > now => {
                Err(Obstacle::HeldOff(hold_off.reason.clone()))
            }
            _ => Ok(()),
        }
    }

    /// Whether its free capacity holds the request, and on which devices.
    ///
    /// # Errors
    /// What is short and by how much.
    pub fn room_for(&self, request: &Resources) -> Result<Grant, Obstacle> {
        let capacity = self.capacity.ok_or(Obstacle::NeverSeen)?;
        could_hold(&capacity, request)?;
        if let Some(short) = self.short_now(&capacity, request).next() {
            return Err(short);
        }
        let devices = self.devices_for(request.gpu, capacity.gpus)?;
        Ok(Grant {
            cpu_milli: request.cpu_milli,
            memory_bytes: request.memory_bytes,
            storage_bytes: request.storage_bytes,
            devices,
        })
    }

    /// Whole devices: the first that are free. A share: of the device with the least room that
    /// still has enough, so that whole ones stay whole (best fit).
    fn devices_for(&self, request: GpuRequest, devices: u16) -> Result<Vec<DeviceShare>, Obstacle> {
        let free = |device: u16| {
            let taken = self
                .allocated
                .device_milli
                .get(usize::from(device))
                .copied()
                .unwrap_or(0);
            WHOLE_DEVICE.saturating_sub(taken)
        };
        let short = |by| Obstacle::Short {
            kind: ResourceKind::Gpu,
            by,
            never: false,
        };
        match request {
            GpuRequest::None => Ok(Vec::new()),
            GpuRequest::Share(milli) => {
                let best = (0..devices)
                    .filter(|device| free(*device) >= u32::from(milli))
                    .min_by_key(|device| (free(*device), *device));
                let most = (0..devices).map(free).max().unwrap_or(0);
                best.map(|device| vec![DeviceShare { device, milli }])
                    .ok_or_else(|| short(u64::from(u32::from(milli).saturating_sub(most))))
            }
            GpuRequest::Whole(count) => {
                let idle: Vec<_> = (0..devices)
                    .filter(|device| free(*device) == WHOLE_DEVICE)
                    .take(usize::from(count))
                    .map(|device| DeviceShare {
                        device,
                        milli: 1000,
                    })
                    .collect();
                let missing = usize::from(count) - idle.len();
                if missing > 0 {
                    return Err(short(missing as u64 * u64::from(WHOLE_DEVICE)));
                }
                Ok(idle)
            }
        }
    }
}

/// Whether a machine of this capacity holds the request when nothing else runs there.
///
/// # Errors
/// What is short for ever, and by how much.
fn could_hold(capacity: &Capacity, request: &Resources) -> Result<(), Obstacle> {
    never_held(capacity, request).next().map_or(Ok(()), Err)
}

/// What is short for ever, and by how much.
fn never_held(capacity: &Capacity, request: &Resources) -> impl Iterator<Item = Obstacle> {
    let devices = u64::from(capacity.gpus) * u64::from(WHOLE_DEVICE);
    let gpus = (ResourceKind::Gpu, u64::from(request.gpu.milli()), devices);
    let amounts = amounts(capacity, request).into_iter().chain([gpus]);
    let short = amounts.filter(|(_, want, total)| want > total);
    short.map(|(kind, want, total)| Obstacle::Short {
        kind,
        by: want - total,
        never: true,
    })
}

/// What is wanted and what is offered of everything that comes in any amount.
fn amounts(capacity: &Capacity, request: &Resources) -> [(ResourceKind, u64, u64); 3] {
    [
        (ResourceKind::Cpu, request.cpu_milli, capacity.cpu_milli),
        (
            ResourceKind::Memory,
            request.memory_bytes,
            capacity.memory_bytes,
        ),
        (
            ResourceKind::Storage,
            request.storage_bytes,
            capacity.storage_bytes,
        ),
    ]
}
