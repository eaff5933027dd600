//! State that a forked child forgets: tables that may hold locks of threads that do not exist
//! there.

use fcsp_hook::backend::Fork;

use crate::memory::graph::GRAPHS;
use crate::memory::pool::POOLS;
use crate::memory::vmm::PHYSICAL;
use crate::vendor::Hip;

impl Fork for Hip {
    fn forget_in_child() {
        PHYSICAL.forget_in_child();
        POOLS.forget_in_child();
        GRAPHS.forget_in_child();
    }
}
