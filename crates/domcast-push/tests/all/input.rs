//! Anything from anybody, on generated input.

mod law; // what must hold; the fuzz target has it too

use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_sent_is_taken_or_refused_and_nobody_else_is_harmed(bytes in prop::collection::vec(any::<u8>(), 0..1500)) {
        law::withstand(&bytes);
    }
}
