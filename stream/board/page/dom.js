// Elements made from parts; text is always text, never markup.

export const $ = (id) => document.getElementById(id);

/** `make("li", { class: "x", "data-level": "very" }, "text", child)`; `on…` adds a listener. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value != null && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

export const dot = (emotion) => make("span", { class: "dot", "data-emotion": emotion, "aria-hidden": "true" });
