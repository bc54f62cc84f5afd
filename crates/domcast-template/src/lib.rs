//! Name and state to HTML text, with Jinja templates.
