//! The file `/proc/PID/cgroup`: a container chooses the names of cgroups below its own, in any
//! bytes. The answer is an identity inside the path of one line, or an error.

use std::os::unix::ffi::OsStrExt;

use fcsp_node::identity::{CgroupIdentity, Kind, cgroup};

/// Runs one input: the contents of the file.
pub fn run(data: &[u8]) {
    let Ok(identity) = cgroup::parse(data) else {
        return;
    };
    let path = identity.path.as_os_str().as_bytes();
    assert!(path.starts_with(b"/"));
    assert!(
        data.windows(path.len()).any(|part| part == path),
        "{identity:?} is in no line"
    );
    assert_eq!(CgroupIdentity::of_path(path), identity);
    if let Kind::Container { chain, .. } = &identity.kind {
        assert!(!chain.is_empty());
        // What a container makes below its cgroup leaves it inside its outermost container.
        let below = [path, b"/", data].concat();
        let deeper = CgroupIdentity::of_path(&below);
        assert_eq!(deeper.outermost(), identity.outermost());
        assert!(deeper.path.starts_with(&identity.path));
    }
}

#[cfg(test)]
#[test]
fn cgroups() {
    let id = "3f9d0c5b7a8e4d21b6c0a1f2e3d4c5b697887960514233241506f7e8d9cabb01";
    let seeds = [
        format!("0::/system.slice/docker-{id}.scope\n"),
        format!("12:pids:/docker/{id}\n4:memory:/docker/{id}/docker/{id}\n0::/\n"),
        format!("0::/kubepods/burstable/podc7b3d9a0-52fe-4f9b-8d43-0e7c1b9fa812/{id}/x\n"),
        format!("0::/a.service/kubepods-pod{}.slice:cri-containerd:{id}\n", &id[..32]),
        "0::/user.slice/user-1000.slice/user@1000.service/app.slice/a.service\n".to_owned(),
    ];
    let seeds: Vec<&[u8]> = seeds.iter().map(String::as_bytes).collect();
    crate::tests::try_many(&seeds, 20_000, run);
}
