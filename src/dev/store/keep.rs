//! The store's side of its data directory.

use super::*;

/// Files may hold so many times the cap: they are smaller than what is made of them, but a signal of which little comes
/// keeps old files alive.
const FILES_PER_CAP: u64 = 2;

impl Store {
    /// Takes what is in a data directory, and writes there what comes from now on.
    ///
    /// # Errors
    /// Where it cannot be used, or another process writes it.
    pub fn open_dir(&self, dir: &Path) -> Result<Loaded, DiskError> {
        for stone in disk::tombstones(dir) {
            self.tombstones.put(stone);
        }
        let (disk, loaded) = Disk::open(dir, |batch, arrival, file| {
            self.admit(batch, arrival, file);
        })?;
        *self.disk() = Some(disk);
        self.maintain();
        Ok(loaded)
    }

    /// Takes what is in a data directory and leaves it as it is: also while another process writes it.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn read_dir(&self, dir: &Path) -> Result<Loaded, DiskError> {
        for stone in disk::tombstones(dir) {
            self.tombstones.put(stone);
        }
        disk::load(dir, false, |batch, arrival, _| {
            self.admit(batch, arrival, 0);
        })
    }

    /// Where it writes, if it does.
    pub fn data_dir(&self) -> Option<PathBuf> {
        self.disk().as_ref().map(|disk| disk.dir().to_owned())
    }

    /// Brings everything to the disk: before a stop.
    pub fn flush(&self) {
        let stones = self.tombstones.all();
        self.on_disk(|disk| disk.sync().and_then(|()| disk.keep_tombstones(&stones)));
    }

    fn disk(&self) -> MutexGuard<'_, Option<Disk>> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with the files, where there are any. The store works on without them.
    pub(super) fn on_disk(&self, work: impl FnOnce(&mut Disk) -> std::io::Result<()>) {
        let mut disk = self.disk();
        let Some(disk) = disk.as_mut() else { return };
        if let Err(error) = work(disk)
            && let Some(left_out) = self.disk_log.admit()
        {
            tracing::error!(dir = %disk.dir().display(), %error, left_out, "The data directory cannot be written: what comes now is in memory only.");
        }
    }

    /// Writes a request down; the request, in one piece then, and the file it is in.
    pub(super) fn write_down(&self, batch: Batch, arrival: u64) -> (Batch, u64) {
        if self.disk().is_none() {
            return (batch, 0);
        }
        let (signal, items, origin) = (batch.signal(), batch.items() as u32, Arc::clone(batch.origin()));
        let bytes = batch.into_bytes();
        let mut file = 0;
        self.on_disk(|disk| {
            file = disk.number();
            disk.append(signal, items, arrival, &bytes)
        });
        (Batch::from_wire(signal, bytes, items, origin), file)
    }

    /// Removes the files of which nothing is stored any more.
    pub(super) fn tidy_files(&self) {
        if self.disk().is_none() {
            return;
        }
        let oldest = self.rings.iter().filter_map(|ring| ring.lock().oldest_file()).min();
        let (most, stones) = (self.cap() * FILES_PER_CAP, self.tombstones.all());
        self.on_disk(|disk| {
            disk.keep_from(oldest.unwrap_or(disk.number()), most);
            disk.keep_tombstones(&stones)
        });
    }
}
