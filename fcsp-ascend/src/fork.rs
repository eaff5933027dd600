//! State that a forked child forgets: handles, and tables that may hold locks of threads that do
//! not exist there.

use fcsp_hook::backend::Fork;

use crate::context;
use crate::memory::vmm::PHYSICAL;
use crate::recording::RECORDINGS;
use crate::vendor::Ascend;

impl Fork for Ascend {
    fn forget_in_child() {
        PHYSICAL.forget_in_child();
        context::forget_in_child();
        RECORDINGS.forget_in_child();
    }
}
