// One picture: a canvas between axes, with a cursor, where a drag selects a part of the time.

const CLICK = 4;  // pixels that a pointer may move in a click

/** Pixels of a canvas for one of the style sheet. */
export const pixels = () => Math.min(devicePixelRatio, 2);

function fill(axis, property, marks) {
  axis.replaceChildren(...marks.map(([share, text]) => {
    const mark = document.createElement("span");
    mark.textContent = text;
    mark.style[property] = `${100 * share}%`;
    mark.classList.toggle("late", share > 0.97);
    return mark;
  }));
}

/** Fires "select" with shares {from, to} of the width, "seek" with {at}, and "whole". */
export class Plot extends EventTarget {
  constructor(parent, name) {
    super();
    const part = document.getElementById("plot").content.cloneNode(true);
    this.figure = part.querySelector("figure");
    this.figure.dataset.name = name;
    this.find = (chosen) => this.figure.querySelector(chosen);
    this.area = this.find(".area");
    this.canvas = this.find("canvas");
    parent.append(part);
    this.listen();
  }

  fire(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  listen() {
    const share = (event) => {
      const { left, width } = this.area.getBoundingClientRect();
      return Math.min(Math.max((event.clientX - left) / width, 0), 1);
    };
    const chosen = this.find(".chosen");
    let began = null;
    this.area.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      began = { at: share(event), x: event.clientX };
      this.area.setPointerCapture(event.pointerId);
    });
    this.area.addEventListener("pointermove", (event) => {
      if (!began) return;
      const [from, to] = [began.at, share(event)].sort((a, b) => a - b);
      chosen.hidden = Math.abs(event.clientX - began.x) < CLICK;
      Object.assign(chosen.style, { left: `${100 * from}%`, width: `${100 * (to - from)}%` });
    });
    this.area.addEventListener("pointerup", (event) => {
      if (!began) return;
      const [from, to] = [began.at, share(event)].sort((a, b) => a - b);
      if (Math.abs(event.clientX - began.x) < CLICK) this.fire("seek", { at: to });
      else this.fire("select", { from, to });
      this.end();
    });
    this.area.addEventListener("pointercancel", () => this.end());
    this.area.addEventListener("dblclick", () => this.fire("whole"));
    this.end = () => {
      began = null;
      chosen.hidden = true;
    };
  }

  /** Pixels of the canvas: as many as the screen has there. */
  get size() {
    const { width, height } = this.area.getBoundingClientRect();
    return [width, height].map((length) => Math.max(1, Math.round(length * pixels())));
  }

  get hidden() {
    return this.figure.hidden;
  }

  set hidden(value) {
    this.figure.hidden = value;
  }

  /** Title, text for who does not see it, and axes of what was painted. */
  label(title, text, across, up) {
    this.find("figcaption").textContent = title;
    this.canvas.setAttribute("aria-label", text);
    fill(this.find(".across"), "left", across);
    fill(this.find(".up"), "bottom", up);
  }

  /** Move the cursor to a share of the width. */
  point(share) {
    const cursor = this.find(".cursor");
    cursor.hidden = share < 0 || share > 1;
    cursor.style.left = `${100 * share}%`;
  }
}
