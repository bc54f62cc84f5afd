//! Finds the patches that turn one HTML tree into another, applies and encodes them.
