//! Calls of handlers: who calls, and what a handler wants besides changing its view.
//!
//! What a handler asks for through its [`Call`] happens once its turn succeeded: a handler that fails, or whose view
//! cannot be rendered, has told and answered nobody.

use crate::audience::Tab;
use crate::push::Push;
use serde_json::Value;

/// Who wants a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sender {
    /// A backend that may push: every declared handler.
    Push,
    /// A handler of this hub, with the same rights.
    Handler,
    /// A browser: only handlers declared for it, and nothing else.
    Browser(Tab),
}

impl Sender {
    /// Whether only what is declared for browsers may be called.
    pub(crate) fn is_browser(&self) -> bool {
        matches!(self, Sender::Browser(_))
    }
}

/// One call of a handler.
#[derive(Debug)]
pub struct Call {
    sender: Sender,
    effects: Effects,
}

/// What a handler wants besides changing its view.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    pub(crate) needs_no_render: bool,
    pub(crate) reply: Option<Value>,
    pub(crate) pushes: Vec<HandlerPush>,
}

#[derive(Debug)]
pub(crate) struct HandlerPush {
    pub(crate) push: Push,
    /// Whether the document of the handler itself is left out.
    pub(crate) is_for_others: bool,
}

impl Call {
    pub(crate) fn new(sender: &Sender) -> Call {
        Call { sender: sender.clone(), effects: Effects::default() }
    }

    pub(crate) fn into_effects(self) -> Effects {
        self.effects
    }

    /// The user whose browser calls, if it is one and somebody is logged in.
    pub fn user(&self) -> Option<&str> {
        self.caller()?.client.user.as_deref()
    }

    /// The session of the browser that calls, if it is one and has one.
    pub fn session(&self) -> Option<&str> {
        self.caller()?.client.session.as_deref()
    }

    /// The tab that calls; `None` if no browser does.
    pub fn tab(&self) -> Option<&str> {
        Some(&self.caller()?.id)
    }

    fn caller(&self) -> Option<&Tab> {
        match &self.sender {
            Sender::Browser(tab) => Some(tab),
            Sender::Push | Sender::Handler => None,
        }
    }

    /// Says that what changed is not visible, so that nothing is rendered for this call.
    ///
    /// The state is kept all the same. If more than that changed, it is seen with the next rendering.
    pub fn needs_no_render(&mut self) {
        self.effects.needs_no_render = true;
    }

    /// Answers the sender, and nobody else: a browser with its `ack`, a backend with its receipt. The last answer counts.
    pub fn reply(&mut self, reply: impl Into<Value>) {
        self.effects.reply = Some(reply.into());
    }

    /// Pushes, once this call succeeded, to everybody that the push is for. What goes to the handler's own document is
    /// applied there next, before whatever else waits.
    ///
    /// A handler that is called by such a push cannot push on: its pushes are refused.
    pub fn push(&mut self, push: Push) {
        self.effects.pushes.push(HandlerPush { push, is_for_others: false });
    }

    /// Pushes as [`push`](Self::push) does, but not to the document that the handler works on, nor, where it can be left out (of messages and
    /// private views), to the tab that calls.
    pub fn broadcast(&mut self, mut push: Push) {
        if let Some(tab) = self.tab() {
            push.audience.except = Some(tab.to_owned());
        }
        self.effects.pushes.push(HandlerPush { push, is_for_others: true });
    }
}
