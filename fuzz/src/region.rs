//! A region file with any bytes: readers from outside get an error or a snapshot, and a process
//! that attaches gets an error or a ledger that works. Neither may crash, hang, or believe more
//! than the file can hold.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use fcsp_core::device::{DeviceIdentity, DeviceUuid};
use fcsp_core::file::SetupLock;
use fcsp_core::memory::Denied;
use fcsp_core::region::layout::{HEADER_BYTES, MAX_SLOTS};
use fcsp_core::region::ledger::used_bytes;
use fcsp_core::region::{Attachment, RegionSnapshot};

const TOTAL: u64 = 80 << 30;
const LIMIT: u64 = 8 << 30;

fn device() -> DeviceIdentity {
    DeviceIdentity {
        index: Some(0),
        uuid: DeviceUuid([7; 16]),
        pci: None,
    }
}

/// Returns a folder in a memory file system, if there is one: the targets write a file for each
/// input.
pub(crate) fn scratch() -> tempfile::TempDir {
    let shm = Path::new("/dev/shm");
    let place = if shm.is_dir() {
        shm.to_owned()
    } else {
        std::env::temp_dir()
    };
    tempfile::Builder::new()
        .prefix("fcsp-fuzz")
        .tempdir_in(place)
        .expect("a scratch folder")
}

struct Place {
    dir: tempfile::TempDir,
    path: PathBuf,
}

impl Place {
    fn new() -> Self {
        let dir = scratch();
        let path = dir.path().join("device.region");
        Self { dir, path }
    }

    fn attach(&self) -> Option<Attachment> {
        let setup = SetupLock::acquire(&self.dir.path().join("setup.lock"))
            .expect("nobody else has the lock");
        Attachment::open(&self.path, &device(), TOTAL, LIMIT, &setup).ok()
    }
}

/// Runs one input. If the first byte is odd, the other bytes are the file. Otherwise they overwrite
/// parts of a valid file: an offset (2 bytes), a length (1) and as many bytes. The second byte
/// truncates the file if it is 1.
pub fn run(data: &[u8]) {
    let mut input = crate::Input::new(data);
    let (raw, cut) = (input.byte() & 1 == 1, input.byte() == 1);
    let place = Place::new();
    if raw {
        std::fs::write(&place.path, input.rest()).expect("a scratch file");
    } else {
        let made = place.attach().expect("a good region");
        made.reserve(1 << 20, LIMIT).expect("one of 8 GiB");
        drop(made);
        let file = OpenOptions::new()
            .write(true)
            .open(&place.path)
            .expect("the region just made");
        while !input.is_empty() {
            let (at, length) = (input.number(2), input.byte());
            let bytes: Vec<u8> = (0..length).map(|_| input.byte()).collect();
            let at = at % (HEADER_BYTES as u64 + 4 * 256);
            file.write_all_at(&bytes, at).expect("a scribble");
        }
        if cut {
            file.set_len(HEADER_BYTES as u64 + 100).expect("a cut");
        }
        (&file).flush().expect("written");
    }

    if let Ok(snapshot) = RegionSnapshot::read(&place.path) {
        assert!(snapshot.processes.len() <= MAX_SLOTS as usize);
        // Nobody lives here, whatever the file says.
        assert!(!snapshot.any_alive());
        assert_eq!(snapshot.used_bytes, 0);
    }
    let Some(attached) = place.attach() else {
        return;
    };
    let before = used_bytes(attached.tenant());
    match attached.reserve(4096, LIMIT) {
        Ok(()) => {
            assert!(used_bytes(attached.tenant()) <= LIMIT);
            attached.release(4096);
            assert!(used_bytes(attached.tenant()) <= before.max(LIMIT));
        }
        Err(Denied { wanted, limit, .. }) => assert_eq!((wanted, limit), (4096, LIMIT)),
    }
    drop(attached);
    if let Ok(snapshot) = RegionSnapshot::read(&place.path) {
        assert_eq!(snapshot.used_bytes, 0);
    }
}

#[cfg(test)]
#[test]
fn region() {
    let seeds: [&[u8]; 7] = [
        b"\x00\x00",
        b"\x00\x01",
        b"\x01\x00",
        b"\x01\x00FCSPREG\x01\x01\x00\x00\x00",
        // The tenant's words: used, dirty, capacity and high.
        b"\x00\x00\x00\x80\x10\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00\x00\x00\x00\x00\x00\x00",
        b"\x00\x00\x00\xa0\x08\xff\xff\xff\xff\xff\xff\xff\xff",
        // The first slot: live, in flight, holding much.
        b"\x00\x00\x10\x00\x10\x01\x00\x00\x00\x05\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff",
    ];
    crate::tests::try_many(&seeds, 3_000, run);
}
