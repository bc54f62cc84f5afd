//! Names of elements and attributes, with their namespaces.

use crate::text::Str;
use std::fmt;

/// The namespaces that an HTML parser can give to an element or an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Namespace {
    /// No namespace: almost every attribute.
    None,
    /// HTML, the namespace of almost every element.
    Html,
    /// SVG elements.
    Svg,
    /// MathML elements.
    MathMl,
    /// The attributes `xlink:href`, `xlink:title` … of SVG and MathML elements.
    XLink,
    /// The attributes `xml:lang` and `xml:space` of SVG and MathML elements.
    Xml,
    /// The attributes `xmlns` and `xmlns:xlink` of SVG and MathML elements.
    Xmlns,
}

impl Namespace {
    const ALL: [Namespace; 7] = [
        Namespace::None,
        Namespace::Html,
        Namespace::Svg,
        Namespace::MathMl,
        Namespace::XLink,
        Namespace::Xml,
        Namespace::Xmlns,
    ];

    /// Returns the word that stands for this namespace in patches and in html5lib-tests: `svg`, `math`, `xlink` …
    pub fn prefix(self) -> &'static str {
        match self {
            Namespace::None => "-",
            Namespace::Html => "html",
            Namespace::Svg => "svg",
            Namespace::MathMl => "math",
            Namespace::XLink => "xlink",
            Namespace::Xml => "xml",
            Namespace::Xmlns => "xmlns",
        }
    }

    /// Returns the namespace that [`prefix`](Self::prefix) writes as `prefix`.
    pub fn from_prefix(prefix: &str) -> Option<Namespace> {
        Self::ALL.into_iter().find(|namespace| namespace.prefix() == prefix)
    }
}

/// The name of an element or an attribute.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    /// Where the name belongs: [`Namespace::Html`] for most elements, [`Namespace::None`] for most attributes.
    pub namespace: Namespace,
    /// The name without a prefix, in lower case for HTML.
    pub local: Str,
}

impl Name {
    /// The name `local` in `namespace`.
    pub fn new(namespace: Namespace, local: impl Into<Str>) -> Name {
        Name { namespace, local: local.into() }
    }

    /// The name of an HTML element.
    pub fn html(local: impl Into<Str>) -> Name {
        Name::new(Namespace::Html, local)
    }

    /// The name of an attribute without a namespace.
    pub fn attribute(local: impl Into<Str>) -> Name {
        Name::new(Namespace::None, local)
    }

    /// Whether this names the HTML element `local`.
    pub fn is_html(&self, local: &str) -> bool {
        self.namespace == Namespace::Html && &*self.local == local
    }

    pub(crate) fn detached(&self) -> Name {
        Name { namespace: self.namespace, local: self.local.detached() }
    }

    /// Writes the name as patches do: alone in the `usual` namespace, else after its namespace and a space.
    pub(crate) fn to_wire(&self, usual: Namespace, out: &mut String) {
        if self.namespace != usual || self.local.contains(' ') {
            out.push_str(self.namespace.prefix());
            out.push(' ');
        }
        out.push_str(&self.local);
    }

    /// Reads what [`to_wire`](Self::to_wire) wrote; `None` if the namespace is unknown or the name empty.
    pub(crate) fn from_wire(usual: Namespace, text: &str) -> Option<Name> {
        let (namespace, local) = match text.split_once(' ') {
            Some((prefix, local)) => (Namespace::from_prefix(prefix)?, local),
            None => (usual, text),
        };
        (!local.is_empty()).then(|| Name::new(namespace, local))
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespace {
            Namespace::None | Namespace::Html => write!(f, "{}", self.local),
            namespace => write!(f, "{} {}", namespace.prefix(), self.local),
        }
    }
}
