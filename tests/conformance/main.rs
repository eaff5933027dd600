//! Tests that every vendor's virtual device must pass, written once: real programs under the real
//! preload library on the simulated driver, in the same words for each vendor.
//!
//! A vendor is an entry in [`vendors`], a client in `clients/`, compiled against its official
//! headers, and a module below that names its groups of cases. Cases are `pub fn` in the modules
//! `routes`, `memory`, `information`, `processes`, `recorded` and `compute`. A process's memory is
//! judged from outside. A client without the preload library asks the vendor's management library
//! for it.
//!
//! The module `files` runs nothing: it compares the backends' folders.
//!
//! Headers are downloaded on first use (`scripts/fetch-headers.sh`). `FCSP_HEADERS` names a folder
//! that contains them. With `FCSP_OFFLINE=1`, vendors without headers are left out, with a note. A
//! C compiler is needed.

mod ascend_only;
mod compute;
mod files;
mod gaudi_only;
mod hip_only;
mod hip_units;
mod information;
mod levelzero_only;
mod lifetimes;
mod machine;
mod memory;
mod processes;
mod recorded;
mod routes;
mod several;
mod vendors;
#[path = "../virtual_time/mod.rs"]
mod virtual_time;

/// Declares one test a case.
macro_rules! cases {
    ($vendor:ident: $($room:ident::$case:ident),* $(,)?) => {
        $(#[test]
        fn $case() {
            crate::$room::$case(&crate::vendors::$vendor);
        })*
    };
}

/// Cases of one process with a device to itself.
macro_rules! basics {
    ($vendor:ident) => {
        cases!($vendor:
            routes::every_route_is_governed,
            memory::the_quota_is_filled_and_never_passed,
            memory::small_requests_are_counted,
            memory::small_requests_fill_the_quota,
            memory::a_refusal_changes_nothing,
            memory::host_memory_is_free,
            memory::without_limits_nothing_changes,
            information::the_quota_is_the_device,
            information::free_memory_falls_by_what_is_taken,
            processes::exit_gives_everything_back,
            processes::threads_never_pass_the_quota,
            processes::threads_pass_between_far_and_near,
        );
    };
}

/// Calls that a program may leave by a jump. The simulated driver interrupts them.
macro_rules! jumps {
    ($vendor:ident) => {
        cases!($vendor: processes::a_jump_out_of_a_call_is_no_way_past_the_quota);
    };
}

/// Devices that several processes use at once.
macro_rules! sharing {
    ($vendor:ident) => {
        cases!($vendor:
            information::each_tenant_sees_its_own_processes,
            information::no_more_is_promised_than_the_device_has,
            processes::several_processes_share_one_quota,
            processes::what_a_process_begins_with_is_held_beforehand,
            processes::two_tenants_do_not_meet,
            processes::killed_processes_give_everything_back,
            processes::a_forked_child_counts_by_itself,
            processes::programs_started_by_programs_are_governed,
        );
    };
}

/// Management libraries that list processes by the numbers of the first PID namespace.
macro_rules! containers {
    ($vendor:ident) => { cases!($vendor: processes::a_container_measures_exactly); };
}

/// Devices that several threads may begin to use at once.
macro_rules! threads {
    ($vendor:ident) => {
        cases!($vendor: processes::threads_that_begin_at_once_share_one_quota);
    };
}

/// Stream-ordered memory.
macro_rules! pools {
    ($vendor:ident) => { cases!($vendor: memory::pools_are_held_to_the_quota); };
}

/// Physical memory apart from addresses.
macro_rules! physical {
    ($vendor:ident) => { cases!($vendor: memory::physical_memory_counts_until_its_last_use); };
}

/// Managed, pitched and shaped memory.
macro_rules! shaped {
    ($vendor:ident) => {
        cases!($vendor: memory::managed_memory_counts_in_full, memory::pitch_and_arrays_count_with_their_padding);
    };
}

/// Code with variables.
macro_rules! modules {
    ($vendor:ident) => { cases!($vendor: memory::variables_of_code_count); };
}

/// Graphs or command lists.
macro_rules! recorded {
    ($vendor:ident) => {
        cases!($vendor: recorded::recorded_work_runs, recorded::recorded_work_is_held_to_the_share);
    };
}

/// Functions whose handles come again after their code is unloaded.
macro_rules! functions {
    ($vendor:ident) => { cases!($vendor: lifetimes::a_handle_that_comes_again_is_a_stranger); };
}

/// Captures of streams.
macro_rules! captures {
    ($vendor:ident) => { cases!($vendor: recorded::a_captures_refusal_comes_before_the_quotas); };
}

/// Shares of the device's time.
macro_rules! shares {
    ($vendor:ident) => {
        cases!($vendor:
            compute::strict_is_its_quota,
            compute::neighbours_get_their_quotas,
            compute::high_priority_goes_first,
            compute::a_floor_is_kept_beside_high_priority,
            compute::a_written_page_takes_no_guarantee,
            compute::pages_of_the_dead_cost_nothing,
            compute::a_page_of_another_version_turns_no_share_off,
            compute::work_that_is_hard_to_learn_has_its_share,
            compute::work_that_is_charged_too_little_takes_no_guarantee,
        );
    };
}

/// Kernels of a library for collectives.
macro_rules! collectives {
    ($vendor:ident) => { cases!($vendor: compute::kernels_named_as_collectives_are_held_to_the_share); };
}

mod cuda {
    basics!(CUDA);
    jumps!(CUDA);
    cases!(CUDA: information::its_devices_are_listed);
    sharing!(CUDA);
    containers!(CUDA);
    threads!(CUDA);
    pools!(CUDA);
    physical!(CUDA);
    shaped!(CUDA);
    modules!(CUDA);
    recorded!(CUDA);
    captures!(CUDA);
    functions!(CUDA);
    cases!(CUDA: lifetimes::a_device_used_anew_while_its_reset_ends_counts);
    shares!(CUDA);
    collectives!(CUDA);
}

mod levelzero {
    basics!(LEVELZERO);
    jumps!(LEVELZERO);
    cases!(LEVELZERO: information::its_devices_are_listed);
    sharing!(LEVELZERO);
    containers!(LEVELZERO);
    physical!(LEVELZERO);
    cases!(LEVELZERO: memory::managed_memory_counts_in_full, memory::arrays_fill_the_quota);
    recorded!(LEVELZERO);
    shares!(LEVELZERO);
    collectives!(LEVELZERO);
    cases!(LEVELZERO:
        levelzero_only::the_library_is_a_driver_to_the_loader,
        levelzero_only::the_library_as_a_driver_keeps_shares,
        levelzero_only::the_loaders_own_handles_are_governed,
        levelzero_only::a_library_on_both_sides_of_the_loader_is_refused,
        levelzero_only::a_context_that_goes_gives_everything_back,
        levelzero_only::only_the_first_use_of_a_device_needs_room_for_a_context,
        levelzero_only::devices_have_quotas_of_their_own,
        levelzero_only::deaths_inside_a_call_leave_nothing_behind,
        levelzero_only::limits_that_cannot_be_kept_leave_no_device,
        lifetimes::handles_of_level_zero_come_and_go,
    );
}

/// A card belongs to one process at a time: nothing of what several share.
mod gaudi {
    basics!(GAUDI);
    jumps!(GAUDI);
    cases!(GAUDI: information::its_devices_are_listed);
    cases!(GAUDI:
        recorded::recorded_work_runs,
        gaudi_only::recipes_become_launches,
        gaudi_only::what_a_recipe_needs_counts,
        gaudi_only::launches_are_counted_and_never_held_back,
        lifetimes::handles_of_gaudi_come_and_go,
        lifetimes::a_device_used_anew_while_its_reset_ends_counts,
    );
}

mod empty {
    basics!(EMPTY);
    sharing!(EMPTY);
}

mod ascend {
    basics!(ASCEND);
    jumps!(ASCEND);
    cases!(ASCEND: information::its_devices_are_listed);
    sharing!(ASCEND);
    containers!(ASCEND);
    threads!(ASCEND);
    physical!(ASCEND);
    recorded!(ASCEND);
    captures!(ASCEND);
    functions!(ASCEND);
    shares!(ASCEND);
    cases!(ASCEND:
        ascend_only::a_jump_out_of_a_call_leaves_no_flag_up,
        lifetimes::handles_of_ascend_come_and_go,
        lifetimes::a_device_used_anew_while_its_reset_ends_counts,
    );
}

mod hip {
    basics!(HIP);
    jumps!(HIP);
    cases!(HIP: information::its_devices_are_listed);
    sharing!(HIP);
    containers!(HIP);
    threads!(HIP);
    pools!(HIP);
    physical!(HIP);
    shaped!(HIP);
    modules!(HIP);
    recorded!(HIP);
    captures!(HIP);
    functions!(HIP);
    shares!(HIP);
    collectives!(HIP);
    cases!(HIP:
        hip_only::a_runtime_that_calls_itself_is_governed_once,
        hip_only::every_form_of_launch_is_charged,
        hip_only::refusals_are_errors_like_the_runtimes_own,
        hip_only::descriptors_do_not_keep_the_device_for_nothing,
        hip_only::amds_own_bindings_see_the_quota,
        hip_only::a_jump_out_of_a_call_leaves_no_flag_up,
        hip_units::tenants_run_on_units_of_their_own,
        hip_units::what_cannot_be_kept_is_refused_before_the_start,
        hip_units::a_programs_own_masks_are_narrowed,
        hip_units::units_are_the_share,
        lifetimes::handles_of_hip_come_and_go,
        lifetimes::a_device_used_anew_while_its_reset_ends_counts,
    );
}
