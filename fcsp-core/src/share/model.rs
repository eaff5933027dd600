//! Loom models of the claim page's protocol. Run with `RUSTFLAGS="--cfg loom" cargo test -p
//! fcsp-core --release --lib loom_`.

use loom::sync::Arc;
use loom::thread;

use crate::share::claim_page::ClaimPage;
use crate::share::params::Params;
use crate::share::token_bucket::TokenRate;

const NOW: u64 = 1_000_000_000;

fn page() -> Arc<ClaimPage> {
    let page = Arc::new(ClaimPage::new());
    page.attach(&Params::balanced(500_000), NOW).unwrap();
    page
}

/// Checks that of two processes that charge the tenant's bucket at once, both charges count.
#[test]
fn loom_no_charge_is_lost() {
    loom::model(|| {
        let page = page();
        let rate = TokenRate {
            part: 500_000,
            cap: 10_000_000,
        };
        page.charge(rate, 1_000_000, NOW);
        let other = {
            let page = page.clone();
            thread::spawn(move || page.charge(rate, 2_000_000, NOW))
        };
        page.charge(rate, 3_000_000, NOW);
        other.join().unwrap();
        assert_eq!(
            rate.tokens(page.view().unwrap().empty_at, NOW),
            10_000_000 - 6_000_000
        );
    });
}

/// Checks that a process that unblocks does not withdraw the claim of another one that blocked
/// meanwhile.
#[test]
fn loom_a_claim_is_taken_back_by_its_maker_only() {
    loom::model(|| {
        let page = page();
        page.block(NOW);
        let other = {
            let page = page.clone();
            thread::spawn(move || page.block(NOW + 5))
        };
        page.unblock(NOW, NOW + 4);
        other.join().unwrap();
        assert_eq!(page.view().unwrap().blocked_since, NOW + 5);
    });
}

/// Checks that a neighbour that sees a fresh `seen` also sees the words published before it.
#[test]
fn loom_what_is_seen_fresh_is_fresh() {
    loom::model(|| {
        let page = page();
        let writer = {
            let page = page.clone();
            thread::spawn(move || {
                page.submitted(1_000, NOW);
                page.publish(NOW + 1);
            })
        };
        let view = page.view().unwrap();
        if view.seen == NOW + 1 {
            assert_eq!(view.finish_at, NOW + 1_000);
        }
        writer.join().unwrap();
    });
}

/// Checks that two processes can set the page up at once, and that it is set up once.
#[test]
fn loom_setting_up_races_with_itself() {
    loom::model(|| {
        let page = Arc::new(ClaimPage::new());
        let other = {
            let page = page.clone();
            thread::spawn(move || page.attach(&Params::balanced(250_000), NOW).unwrap())
        };
        page.attach(&Params::balanced(250_000), NOW).unwrap();
        other.join().unwrap();
        assert_eq!(page.view().unwrap().guarantee, 250_000);
    });
}
