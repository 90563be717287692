// Which part of the drawing is seen, and how large: zoom and pan by wheel, drag, touch and keys.

const LARGEST_SCALE = 4;
const ZOOM_STEP = 1.25;
const CLICK_REACH = 4;
// A page that is being scrolled goes on when the drawing comes under the pointer.
const SCROLLING = 250;
// Smaller, boxes can't be read: a drawing that is too large for the frame starts like this.
export const READABLE = 0.75;

// `frame`: the element in which the drawing is seen. `moved(view)` is called after every change.
// The drawing's point (x, y) stands at (view.x + view.scale * x, view.y + view.scale * y).
export function createView(frame, moved) {
  const view = { frame, x: 0, y: 0, scale: 1, width: 1, height: 1, world: { width: 1, height: 1 } };
  const fitting = () =>
    Math.min(1, view.width / view.world.width, view.height / view.world.height);
  const held = (offset, room, size) =>
    size <= room ? (room - size) / 2 : Math.min(0, Math.max(room - size, offset));
  const set = (x, y, scale) => {
    view.scale = Math.min(LARGEST_SCALE, Math.max(Math.min(fitting(), LARGEST_SCALE), scale));
    view.x = held(x, view.width, view.world.width * view.scale);
    view.y = held(y, view.height, view.world.height * view.scale);
    moved(view);
  };
  Object.assign(view, {
    set,
    fit: () => set(0, 0, fitting()),
    begin: () => {
      // A little smaller than readable rather than a little cut.
      const across = view.width / view.world.width;
      const least = across > 0.9 * READABLE ? Math.min(across, READABLE) : READABLE;
      const scale = Math.max(fitting(), least);
      set(0, (view.height - view.world.height * scale) / 2, scale);
    },
    moveBy: (dx, dy) => set(view.x + dx, view.y + dy, view.scale),
    zoom(factor, px = view.width / 2, py = view.height / 2) {
      const scale = Math.min(LARGEST_SCALE, Math.max(fitting(), view.scale * factor));
      const ratio = scale / view.scale;
      set(px - (px - view.x) * ratio, py - (py - view.y) * ratio, scale);
    },
    centre(x, y) {
      const { scale } = view;
      set(view.width / 2 - x * scale, view.height / 2 - y * scale, scale);
    },
    // Brings a point of the drawing into the frame, with some room around it.
    reveal(x, y) {
      const room = Math.min(70, view.width / 3, view.height / 3);
      const [px, py] = [view.x + x * view.scale, view.y + y * view.scale];
      const inside = (value, size) => Math.min(Math.max(value, room), size - room) - value;
      const [dx, dy] = [inside(px, view.width), inside(py, view.height)];
      if (dx || dy) view.moveBy(dx, dy);
    },
    whole: () => view.scale <= fitting() * 1.001,
    toWorld(clientX, clientY) {
      const rect = frame.getBoundingClientRect();
      const [x, y] = [clientX - rect.left - view.x, clientY - rect.top - view.y];
      return [x / view.scale, y / view.scale];
    },
  });
  listenToWheel(frame, view, fitting);
  listenToPointers(frame, view);
  frame.addEventListener("keydown", (event) => moveByKey(view, event));
  return view;
}

function listenToWheel(frame, view, fitting) {
  let scrolled = -Infinity;
  window.addEventListener("scroll", () => (scrolled = performance.now()), { passive: true });
  frame.addEventListener(
    "wheel",
    (event) => {
      const goesOn = !event.ctrlKey && performance.now() - scrolled < SCROLLING;
      const out = event.deltaY > 0;
      const atEnd = out ? view.scale <= fitting() * 1.001 : view.scale >= LARGEST_SCALE;
      if (goesOn || (atEnd && !event.ctrlKey) || !event.deltaY) return;
      event.preventDefault();
      const rect = frame.getBoundingClientRect();
      const lines = event.deltaMode === 1 ? 30 : 1;
      const factor = Math.exp((-event.deltaY * lines * (event.ctrlKey ? 8 : 1)) / 700);
      view.zoom(factor, event.clientX - rect.left, event.clientY - rect.top);
    },
    { passive: false },
  );
}

// One pointer drags, two pinch. What does not go far is a click, and left to what is under it.
function listenToPointers(frame, view) {
  const down = new Map();
  let dragged = false;
  const middle = () => {
    const points = [...down.values()];
    const mean = (axis) => points.reduce((sum, point) => sum + point[axis], 0) / points.length;
    const [a, b] = points;
    const apart = b ? Math.hypot(a.x - b.x, a.y - b.y) : 0;
    return { x: mean("x"), y: mean("y"), apart };
  };
  frame.addEventListener("pointerdown", (event) => {
    if (event.pointerType === "mouse" && event.button !== 0) return;
    if (!down.size) dragged = false;
    down.set(event.pointerId, { x: event.clientX, y: event.clientY });
  });
  frame.addEventListener("pointermove", (event) => {
    if (!down.has(event.pointerId)) return;
    const before = middle();
    const last = down.get(event.pointerId);
    const far = Math.hypot(event.clientX - last.x, event.clientY - last.y) > CLICK_REACH;
    if (!dragged && !far && down.size === 1) return;
    if (!dragged) {
      dragged = true;
      frame.classList.add("dragged");
    }
    frame.setPointerCapture(event.pointerId);
    down.set(event.pointerId, { x: event.clientX, y: event.clientY });
    const after = middle();
    view.moveBy(after.x - before.x, after.y - before.y);
    const rect = frame.getBoundingClientRect();
    const [x, y] = [after.x - rect.left, after.y - rect.top];
    if (before.apart) view.zoom(after.apart / before.apart, x, y);
  });
  const up = (event) => {
    down.delete(event.pointerId);
    if (!down.size) frame.classList.remove("dragged");
  };
  window.addEventListener("pointerup", up);
  window.addEventListener("pointercancel", up);
  frame.addEventListener(
    "click",
    (event) => {
      if (!dragged) return;
      dragged = false;
      event.stopPropagation();
    },
    true,
  );
}

function moveByKey(view, event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const far = 80;
  const moves = {
    ArrowLeft: [far, 0],
    ArrowRight: [-far, 0],
    ArrowUp: [0, far],
    ArrowDown: [0, -far],
  };
  const larger = () => view.zoom(ZOOM_STEP);
  const keys = { "+": larger, "=": larger, "-": () => view.zoom(1 / ZOOM_STEP), 0: view.fit };
  const move = event.shiftKey ? moves[event.key] : undefined;
  const act = move ? () => view.moveBy(...move) : keys[event.key];
  if (!act) return;
  event.preventDefault();
  event.stopPropagation();
  act();
}

export function zoomButtons(view) {
  return [
    ["zoom out", "−", () => view.zoom(1 / ZOOM_STEP)],
    ["zoom in", "+", () => view.zoom(ZOOM_STEP)],
    ["fit the whole drawing", "⤢", () => view.fit()],
  ];
}
