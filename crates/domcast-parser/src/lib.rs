//! HTML text to tree, as browsers do.
