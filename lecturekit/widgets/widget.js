// The browser's half of a widget: controls above, the picture that Python drew below. See base.py.

const element = (name, attributes = {}, ...children) => {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
};

const digits = (step) => (String(step).split(".")[1] || "").length;

// What each kind of control is made of: a field, how it is read, how it is set.
const kinds = {
  slider(control) {
    const field = element("input", { type: "range", min: control.low, max: control.high, step: control.step });
    const shown = element("output");
    const set = (value) => {
      field.value = value;
      shown.textContent = Number(value).toFixed(digits(control.step));
      field.setAttribute("aria-valuetext", shown.textContent);
    };
    field.addEventListener("input", () => set(field.value));
    return { field, parts: [field, shown], on: "input", read: () => Number(field.value), set };
  },
  choice(control) {
    const field = element("select", {}, ...control.options.map((option) => element("option", {}, option)));
    return { field, parts: [field], on: "change", read: () => field.value, set: (value) => (field.value = value) };
  },
  text(control) {
    const field = control.lines > 1 ? element("textarea", { rows: control.lines }) : element("input", { type: "text" });
    field.spellcheck = false;
    return { field, parts: [field], on: "input", read: () => field.value, set: (value) => (field.value = value) };
  },
  toggle() {
    const field = element("input", { type: "checkbox" });
    return { field, parts: [field], on: "change", read: () => field.checked, set: (value) => (field.checked = value) };
  },
  button(control) {
    const field = element("button", { type: "button" }, control.label);
    let presses = control.value;
    return { field, parts: [field], on: "click", read: () => ++presses, set: (value) => (presses = value) };
  },
};

function render({ model, el }) {
  const drawing = element("div", { class: "lk-picture" });
  const panel = element("div", { class: "lk-controls" });
  const controls = {};
  let number = 0; // of the last request
  let waiting = false; // for its answer
  let wanted = {}; // what has changed meanwhile

  const send = () => {
    waiting = true;
    drawing.dataset.waiting = "yes";
    number = Math.max(number, model.get("answered")) + 1; // another view of the same widget may have asked too
    model.send({ values: wanted, number });
    wanted = {};
  };
  const change = (values) => {
    Object.assign(wanted, values);
    if (!waiting) send(); // else the answer sends it: no queue of outdated requests builds up
  };

  for (const control of model.get("controls")) {
    const made = (controls[control.name] = kinds[control.kind](control));
    made.field.dataset.name = control.name;
    made.field.addEventListener(made.on, () => change({ [control.name]: made.read() }));
    made.place = made.field;
    if (control.kind !== "button") {
      made.place = element("label", { class: `lk-${control.kind}` }, `${control.label} `, ...made.parts);
    }
    panel.append(made.place);
  }
  const follow = () => {
    const values = model.get("values");
    for (const [name, value] of Object.entries(values)) {
      if (!(name in wanted) && controls[name].field !== document.activeElement) controls[name].set(value);
    }
    for (const { name, only = {} } of model.get("controls")) {
      controls[name].place.hidden = !Object.entries(only).every(([other, all]) => all.includes(values[other]));
    }
  };

  const draw = () => {
    const open = drawing.querySelector("details")?.open;
    const focused = drawing.contains(document.activeElement) && document.activeElement.dataset.sets;
    const scrolled = [...drawing.querySelectorAll(".lk-scroll")].map((part) => part.scrollLeft);
    drawing.innerHTML = model.get("picture");
    drawing.querySelectorAll(".lk-scroll").forEach((part, index) => (part.scrollLeft = scrolled[index] ?? 0));
    if (open) drawing.querySelector("details")?.setAttribute("open", "");
    if (focused) [...drawing.querySelectorAll("[data-sets]")].find((part) => part.dataset.sets === focused)?.focus();
  };
  const answered = () => {
    if (model.get("answered") < number) return; // it has not heard of the last change yet
    waiting = false;
    delete drawing.dataset.waiting;
    if (Object.keys(wanted).length) send();
  };
  const press = (event) => {
    if (event.type === "keydown" && event.key !== "Enter" && event.key !== " ") return;
    const target = event.target.closest("[data-sets]");
    if (!target) return;
    event.preventDefault();
    change(JSON.parse(target.dataset.sets));
  };
  drawing.addEventListener("click", press);
  drawing.addEventListener("keydown", press);
  // JupyterLab takes single keys for commands of its own, unless the element they go to says otherwise
  const keep = (event) => {
    const modified = event.ctrlKey || event.metaKey || event.altKey;
    if (el.contains(event.target)) event.target.toggleAttribute("data-lm-suppress-shortcuts", !modified);
  };
  window.addEventListener("keydown", keep, true);

  el.classList.add("lk");
  el.append(element("p", { class: "lk-title" }, model.get("title")), panel, drawing);
  model.on("change:values", follow);
  model.on("change:picture", draw);
  model.on("change:answered", answered);
  for (const control of model.get("controls")) controls[control.name].set(control.value);
  follow();
  draw();
  return () => {
    window.removeEventListener("keydown", keep, true);
    model.off("change:values", follow);
    model.off("change:picture", draw);
    model.off("change:answered", answered);
  };
}

export default { render };
