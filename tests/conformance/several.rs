//! Libraries of two vendors in one process: each answers for its own vendor, whichever comes first.

use std::process::Command;

use crate::machine::{Machine, compile};
use crate::vendors;

#[test]
fn each_library_answers_for_its_own_vendor() {
    let (Some(cuda), Some(hip)) = (Machine::new(&vendors::CUDA), Machine::new(&vendors::HIP))
    else {
        return;
    };
    let program = cuda.path().join("several");
    compile(&vendors::CUDA, "several.c", &program, &[]);
    for order in [[&cuda, &hip], [&hip, &cuda]] {
        let preload: Vec<String> = order
            .iter()
            .map(|machine| machine.preload().display().to_string())
            .collect();
        let output = Command::new(&program)
            .arg(cuda.sim().join("libcuda.so.1"))
            .arg("cuMemAlloc_v2")
            .arg(hip.sim().join("libamdhip64.so.6"))
            .arg("hipMalloc")
            .args(["libc.so.6", "malloc"])
            .env("LD_PRELOAD", preload.join(":"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(
            said.lines().collect::<Vec<_>>(),
            ["libfcsp_cuda.so", "libfcsp_hip.so", "libc.so.6"],
            "{preload:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}
