// Keyboard shortcuts, which stay away from fields and from controls that take the key themselves.

const TYPED = "input:not([type=checkbox]):not([type=range]), select, textarea";
const PRESSED = "button, summary, a, input[type=checkbox]";

/** Call the action of a pressed key (lower case) while `enabled()`. */
export function onKeys(actions, enabled) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || !enabled()) return;
    const key = event.key.toLowerCase();
    const { target } = event;
    if (target.closest(TYPED) && key !== "escape") return;
    if (key === " " && target.closest(PRESSED)) return;
    if (key.startsWith("arrow") && target.closest("input")) return;
    if (!Object.hasOwn(actions, key)) return;
    event.preventDefault();
    actions[key]();
  });
}
