//! State that a forked child forgets: handles, and tables that may hold locks of threads that do
//! not exist there.

use fcsp_hook::backend::Fork;

use crate::info::process_memory;
use crate::memory::vmm::PHYSICAL;
use crate::vendor::LevelZero;
use crate::{device, queues, uses};

impl Fork for LevelZero {
    fn forget_in_child() {
        device::forget_in_child();
        PHYSICAL.forget_in_child();
        queues::forget_in_child();
        uses::forget_in_child();
        process_memory::forget_in_child();
    }
}
