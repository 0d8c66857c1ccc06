"use strict";
// Moving about in the drawing of the logic, and the wires of a chosen node. Everything else needs no script.
(() => {
  const view = document.getElementById("viewport");
  const picture = view.querySelector("svg");
  if (!picture) return;
  const whole = picture.viewBox.baseVal;
  const area = { x: whole.x, y: whole.y, width: whole.width, height: whole.height };
  const full = { ...area };
  const show = () => picture.setAttribute("viewBox", `${area.x} ${area.y} ${area.width} ${area.height}`);

  // Where a point of the screen is in the picture; the box keeps its proportions within the viewport.
  const scale = () => Math.max(area.width / view.clientWidth, area.height / view.clientHeight);
  const place = (x, y) => {
    const frame = view.getBoundingClientRect();
    return {
      x: area.x + area.width / 2 + (x - frame.left - frame.width / 2) * scale(),
      y: area.y + area.height / 2 + (y - frame.top - frame.height / 2) * scale(),
    };
  };
  const zoom = (factor, x, y) => {
    const width = Math.min(full.width * 1.5, Math.max(60, area.width * factor));
    const ratio = width / area.width;
    const fixed = place(x, y);
    area.x = fixed.x - (fixed.x - area.x) * ratio;
    area.y = fixed.y - (fixed.y - area.y) * ratio;
    area.width = width;
    area.height *= ratio;
    show();
  };
  view.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(event.deltaY > 0 ? 1.2 : 1 / 1.2, event.clientX, event.clientY);
  }, { passive: false });

  const fingers = new Map();
  view.addEventListener("pointerdown", (event) => fingers.set(event.pointerId, event));
  window.addEventListener("pointerup", (event) => fingers.delete(event.pointerId));
  window.addEventListener("pointercancel", (event) => fingers.delete(event.pointerId));
  window.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId);
    if (!before) return;
    if (fingers.size === 1) {
      area.x -= (event.clientX - before.clientX) * scale();
      area.y -= (event.clientY - before.clientY) * scale();
      show();
    } else {
      const [other] = [...fingers.values()].filter((finger) => finger.pointerId !== event.pointerId);
      const distance = (finger) => Math.hypot(finger.clientX - other.clientX, finger.clientY - other.clientY);
      zoom(distance(before) / Math.max(1, distance(event)), other.clientX, other.clientY);
    }
    fingers.set(event.pointerId, event);
  });

  const chosen = document.getElementById("chosen");
  const wires = document.getElementById("selected-wires");
  const nodes = [...picture.querySelectorAll(".node")];
  const reads = new Map(nodes.map((node) => [node.id, node.dataset.reads.split(" ").filter(Boolean)]));
  const words = (node) => node.querySelector("title").textContent;
  const wire = (from, to, kind) => {
    const line = document.createElementNS("http://www.w3.org/2000/svg", "line");
    const ends = { x1: from.getAttribute("cx"), y1: from.getAttribute("cy"), x2: to.getAttribute("cx"), y2: to.getAttribute("cy") };
    for (const [name, value] of Object.entries(ends)) line.setAttribute(name, value);
    line.setAttribute("class", `selected ${kind}`);
    wires.append(line);
  };
  const choose = (node) => {
    wires.replaceChildren();
    const near = new Set([node.id, ...reads.get(node.id)]);
    for (const id of reads.get(node.id)) wire(document.getElementById(id), node, "in");
    for (const [id, sources] of reads) {
      if (sources.includes(node.id)) {
        near.add(id);
        wire(node, document.getElementById(id), "out");
      }
    }
    for (const one of nodes) {
      one.classList.toggle("dim", !near.has(one.id));
      one.classList.toggle("chosen", one === node);
    }
    chosen.textContent = words(node);
  };
  for (const node of nodes) {
    node.addEventListener("click", () => choose(node));
    node.addEventListener("keydown", (event) => { if (event.key === "Enter") choose(node); });
    node.addEventListener("pointerenter", () => { if (!wires.childElementCount) chosen.textContent = words(node); });
  }
})();
