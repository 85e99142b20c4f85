// The page works without this: it adds what moves by itself, keys, and ways to look closer.
"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const one = (selector, root = document) => root.querySelector(selector);
  const counted = (count, noun) => `${count} ${noun}${String(count) === "1" ? "" : "s"}`;
  const clamp = (value, least, most) => Math.min(Math.max(value, least), most);

  for (const element of all(".needs-script")) element.removeAttribute("hidden"); // SVG has no property of that name
  if (matchMedia("(min-width: 761px)").matches) for (const fold of all("[data-open-wide]")) fold.open = true;

  // Thumbnails that cannot be made
  for (const picture of all("img[data-thumb]")) {
    const gone = () => { picture.hidden = true; picture.parentElement.querySelector(".thumb-gone").hidden = false; };
    if (picture.complete && picture.naturalWidth === 0) gone(); else picture.addEventListener("error", gone);
  }

  // Dark and light
  const isDark = () => (document.documentElement.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const setTheme = (theme) => {
    document.documentElement.dataset.theme = theme;
    one('meta[name="color-scheme"]').content = theme;
    document.cookie = `local-theme=${theme}; path=/; max-age=31536000; samesite=strict`;
  };
  one("[data-theme-form]").addEventListener("submit", (event) => {
    event.preventDefault();
    setTheme(event.submitter.value);
    one(isDark() ? ".to-light" : ".to-dark").focus();
  });

  // Shortcuts
  const dialog = one("#keys");
  for (const button of all("[data-open]")) button.addEventListener("click", () => dialog.showModal());

  const note = one(".note");
  if (note) setTimeout(() => note.remove(), 6000);

  // Numbers and parts that renew themselves. One request at a time, none while nobody looks.
  const every = (milliseconds, work) => {
    const next = async () => {
      if (!document.hidden) {
        try { await work(); } catch { /* the platform is down: it is asked again */ }
      }
      setTimeout(next, milliseconds);
    };
    setTimeout(next, milliseconds);
  };
  const renew = (element, html) => {
    if (element.dataset.seen === html || element.contains(document.activeElement)) return;
    element.innerHTML = html;
    element.dataset.seen = html;
  };
  for (const live of all("[data-live]")) {
    every(Number(live.dataset.every), async () => {
      const answer = await fetch(live.dataset.live, { headers: { Accept: "application/json" } });
      if (!answer.ok) return;
      const { values, parts } = await answer.json();
      for (const element of all("[data-value]", live)) {
        const value = values[element.dataset.value];
        if (value === undefined || value === element.textContent) continue;
        element.textContent = value;
        element.classList.remove("moved");
        element.getBoundingClientRect();
        element.classList.add("moved");
      }
      for (const link of all("a.stage", live)) {
        const { stage, type } = link.dataset;
        link.setAttribute("aria-label", `${stage} ${counted(one(".stage-count", link).textContent, "task")}, ${type} stage`);
      }
      for (const [name, html] of Object.entries(parts)) renew(one(`[data-part="${name}"]`, live), html);
    });
  }
  for (const part of all("[data-fragment]")) {
    every(Number(part.dataset.every), async () => {
      const answer = await fetch(part.dataset.fragment);
      if (answer.ok) renew(part, await answer.text());
    });
  }

  // Choosing tasks
  const bulk = one("#bulk");
  if (bulk && one("[data-all]", bulk)) {
    const boxes = all('input[name="task"]', bulk);
    const everything = one("[data-all]", bulk);
    const chosen = one("[data-chosen]", bulk);
    const buttons = all(".bulk button", bulk);
    const show = () => {
      const count = boxes.filter((box) => box.checked).length;
      chosen.textContent = count ? `${count} chosen:` : "Choose tasks, then:";
      everything.checked = count === boxes.length;
      everything.indeterminate = count > 0 && count < boxes.length;
      for (const button of buttons) button.disabled = !count;
    };
    everything.addEventListener("change", () => { for (const box of boxes) box.checked = everything.checked; show(); });
    bulk.addEventListener("change", show);
    addEventListener("pageshow", show);
    show();
  }

  const colour = () => { for (const mark of all("mark[data-colour]")) mark.style.setProperty("--colour", mark.dataset.colour); };
  colour();

  const viewer = one("[data-viewer]");
  const look = viewer && one("[data-scene]", viewer) ? scene(viewer) : null;
  const player = look && one("[data-player]", viewer) ? film(viewer, look) : null;
  if (viewer && !look) listed(viewer);
  const audio = viewer && one("[data-sound]", viewer);
  if (audio) sound(one("[data-audio]", viewer));

  // An editor agent is called, and what it changed is shown, without loading the page again
  const agents = one("#agents");
  if (agents) agents.addEventListener("submit", async (event) => {
    event.preventDefault();
    const pressed = event.submitter, name = pressed.value;
    const action = pressed.getAttribute("formaction") || agents.getAttribute("action");
    const buttons = all('#agents button, button[form="agents"]');
    const told = one('[data-renewed="outcome"]');
    agents.elements.then.value = location.pathname + location.search;
    const body = new URLSearchParams(new FormData(agents));
    body.append("agent", name);
    told.textContent = `${name} is at work …`;
    for (const button of buttons) button.disabled = true;
    try {
      const answer = await fetch(action, { method: "POST", body });
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (answer.ok) renewed(fresh);
      else told.textContent = fresh.querySelector("main p")?.textContent || `The local platform answered ${answer.status}: load the page again.`;
    } catch {
      told.textContent = "The local platform does not answer. Is it still up? Load the page again.";
    }
    for (const button of all('#agents button, button[form="agents"]')) button.disabled = false;
    const again = all('#agents button, button[form="agents"]').find((button) => button.value === name && (button.getAttribute("formaction") || "") === (pressed.getAttribute("formaction") || ""));
    (again || agents.querySelector("button")).focus({ preventScroll: true });
  });
  function renewed(fresh) {
    for (const part of all("[data-renewed]")) {
      const other = one(`[data-renewed="${part.dataset.renewed}"]`, fresh);
      if (other) part.innerHTML = other.innerHTML;
    }
    for (const element of all("[data-renewed] .needs-script")) element.hidden = false;
    colour();
    if (player) { player.forget(); return; }
    one("[data-listed]").innerHTML = one("[data-listed]", fresh).innerHTML;
    if (!look) { for (const box of all("[data-listed] .needs-script")) box.hidden = false; return; }
    look.drawn.innerHTML = one("[data-drawn]", fresh).innerHTML;
    look.svg.setAttribute("aria-label", one("[data-scene]", fresh).getAttribute("aria-label"));
    look.show();
  }

  // What is hidden stays so from task to task
  function remembered(name) {
    try { return new Set(JSON.parse(sessionStorage.getItem(name) || "[]")); } catch { return new Set(); }
  }

  function scene(root) {
    const svg = one("[data-scene]", root);
    const canvas = one("[data-canvas]", root);
    const drawn = one("[data-drawn]", svg);
    const picture = one("[data-picture]", svg);
    let width = Number(svg.dataset.width), height = Number(svg.dataset.height);
    const base = Number(root.dataset.unit);
    let view = { x: 0, y: 0, width, height };
    let least = 0;
    const classesOff = remembered("classes-off"), objectsOff = new Set();

    if (picture) {
      const text = one("[data-gone]", root);
      if (text) for (const happened of ["error", "load"]) picture.addEventListener(happened, () => { text.hidden = happened === "load"; });
    }

    // Names keep their size on the screen, however large the picture is
    const size = () => {
      const box = svg.getBoundingClientRect();
      const unit = Math.max(view.width / box.width, view.height / box.height);
      for (const tag of all(".tag", drawn)) {
        // Inside of the picture where there is no room above
        const down = Number(tag.dataset.y) - 20 * unit < view.y ? 20 * unit : 0;
        tag.setAttribute("transform", `translate(${tag.dataset.x} ${Number(tag.dataset.y) + down}) scale(${unit})`);
        if (!tag.dataset.measured) {
          const width = one("text", tag).getComputedTextLength();
          if (width) { one("rect", tag).setAttribute("width", width + 10); tag.dataset.measured = "1"; }
        }
      }
    };
    const setView = (next) => {
      const zoom = clamp(width / next.width, 1, 40);
      view = { width: width / zoom, height: height / zoom };
      view.x = clamp(next.x, 0, width - view.width);
      view.y = clamp(next.y, 0, height - view.height);
      svg.setAttribute("viewBox", `${view.x} ${view.y} ${view.width} ${view.height}`);
      canvas.classList.toggle("zoomed", zoom > 1);
      size();
    };
    const zoomBy = (factor, at) => {
      const x = at ? at.x : view.x + view.width / 2, y = at ? at.y : view.y + view.height / 2;
      setView({ width: view.width / factor, x: x - (x - view.x) / factor, y: y - (y - view.y) / factor });
    };
    const point = (event) => new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    canvas.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.metaKey && !canvas.classList.contains("zoomed")) return;
      event.preventDefault();
      zoomBy(Math.exp(-event.deltaY / 300), point(event));
    }, { passive: false });
    svg.addEventListener("dblclick", (event) => zoomBy(2, point(event)));
    svg.addEventListener("pointerdown", (event) => {
      if (!canvas.classList.contains("zoomed") || event.button) return;
      svg.setPointerCapture(event.pointerId);
      const from = point(event);
      const move = (moved) => { const to = point(moved); setView({ width: view.width, x: view.x + from.x - to.x, y: view.y + from.y - to.y }); };
      svg.addEventListener("pointermove", move);
      svg.addEventListener("pointerup", () => svg.removeEventListener("pointermove", move), { once: true });
      svg.addEventListener("pointercancel", () => svg.removeEventListener("pointermove", move), { once: true });
    });
    new ResizeObserver(size).observe(svg);

    // Toggles, confidence
    const show = () => {
      const objects = {};
      for (const label of all(".label", drawn)) {
        const confidence = label.dataset.confidence;
        const low = confidence !== undefined && Number(confidence) < least;
        objects[label.dataset.object] = low;
        label.classList.toggle("off", low || classesOff.has(label.dataset.class) || objectsOff.has(label.dataset.object));
      }
      for (const item of all(".object[data-object]", root)) item.classList.toggle("low", Boolean(objects[item.dataset.object]));
      for (const box of all("[data-toggle-class]", root)) { box.hidden = false; box.checked = !classesOff.has(box.dataset.toggleClass); }
      for (const box of all("[data-toggle-object]", root)) { box.hidden = false; box.checked = !objectsOff.has(box.dataset.toggleObject); }
      size();
    };
    root.addEventListener("change", (event) => {
      const { toggleClass, toggleObject } = event.target.dataset;
      const set = toggleClass ? classesOff : objectsOff, hash = toggleClass || toggleObject;
      if (!hash) return;
      if (event.target.checked) set.delete(hash); else set.add(hash);
      try { sessionStorage.setItem("classes-off", JSON.stringify([...classesOff])); } catch { /* a private window */ }
      show();
    });
    const slider = one("[data-least]", root);
    if (slider) slider.addEventListener("input", () => {
      least = Number(slider.value);
      one("[data-least-shown]", root).value = least.toFixed(2);
      show();
    });

    links(root, () => all(".label", drawn), svg);

    const tools = {
      in: () => zoomBy(1.6),
      out: () => zoomBy(1 / 1.6),
      fit: () => setView({ x: 0, y: 0, width }),
      labels: () => {
        const off = svg.classList.toggle("labels-off");
        const button = one('[data-do="labels"]', root);
        if (button) button.setAttribute("aria-pressed", String(!off));
      },
      names: () => svg.classList.toggle("names-off"),
    };
    for (const button of all("[data-do]", canvas)) button.addEventListener("click", tools[button.dataset.do]);
    show();
    // Pages and members of groups have sizes of their own
    const resize = (w, h) => {
      if (w === width && h === height) return;
      [width, height] = [w, h];
      if (picture) { picture.setAttribute("width", w); picture.setAttribute("height", h); }
      setView({ x: 0, y: 0, width });
    };
    return { tools, svg, picture, drawn, show, base, resize };
  }

  // What is pointed at in the list is bright in the picture, and the other way round
  function links(root, labels, svg) {
    const heat = (hash) => {
      let hot = false;
      for (const label of labels()) {
        const on = hash !== undefined && label.dataset.object === hash;
        label.classList.toggle("hot", on);
        hot = hot || on;
      }
      if (svg) svg.classList.toggle("has-hot", hot);
      for (const item of all(".object[data-object]", root)) item.classList.toggle("hot", hash !== undefined && item.dataset.object === hash);
    };
    root.addEventListener("pointerover", (event) => heat(event.target.closest("[data-object]")?.dataset.object));
    root.addEventListener("pointerleave", () => heat(undefined));
    root.addEventListener("focusin", (event) => heat(event.target.closest("[data-object]")?.dataset.object));
  }

  // Objects of text and sound: taken off, they leave no mark
  function listed(root) {
    const labels = () => all("mark.label, .tracks [data-object]", root);
    const off = new Set();
    links(root, labels);
    root.addEventListener("change", (event) => {
      const { toggleClass, toggleObject } = event.target.dataset;
      if (!toggleClass && !toggleObject) return;
      const group = event.target.closest(".class-group");
      const boxes = toggleObject ? [event.target] : all("[data-toggle-object]", group);
      for (const box of boxes) {
        box.checked = event.target.checked;
        if (box.checked) off.delete(box.dataset.toggleObject); else off.add(box.dataset.toggleObject);
      }
      for (const label of labels()) label.classList.toggle("taken-off", off.has(label.dataset.object));
    });
  }

  function film(root, look) {
    const panel = one("[data-player]", root);
    const frames = Number(panel.dataset.frames), fps = Number(panel.dataset.fps) || 25, chunk = Number(panel.dataset.chunk);
    const scrub = one("[data-scrub]", panel), number = one("[data-frame-number]", panel);
    const listed = one("[data-listed]", root), at = one('#agents [name="frame"]', root);
    const video = one("[data-film]", root);
    const labels = new Map(), chunks = new Map(), pictures = new Map();
    let frame = Number(panel.dataset.frame), wanted = frame, playing = false, showing = null;

    const addresses = JSON.parse(panel.dataset.addresses), sizes = JSON.parse(panel.dataset.sizes), noun = panel.dataset.noun;
    const address = (k) => (addresses.length > 1 ? addresses[k] : addresses[0].replace("{k}", k));
    const labelsOf = async (k) => {
      const first = k - (k % chunk);
      if (!chunks.has(first)) {
        const separator = panel.dataset.labels.includes("?") ? "&" : "?";
        chunks.set(first, fetch(`${panel.dataset.labels}${separator}from=${first}`).then(async (answer) => {
          if (!answer.ok) throw new Error(String(answer.status));
          const found = await answer.json();
          for (const [key, value] of Object.entries(found)) labels.set(Number(key), value);
        }).catch(() => chunks.delete(first)));
      }
      await chunks.get(first);
      return labels.get(k);
    };
    const pictureOf = (k) => {
      if (!pictures.has(k)) {
        const image = new Image();
        image.src = address(k);
        pictures.set(k, image.decode().then(() => image).catch(() => image));
        if (pictures.size > 120) pictures.delete(pictures.keys().next().value);
      }
      return pictures.get(k);
    };
    const seek = (k) => new Promise((done) => {
      video.addEventListener("seeked", done, { once: true });
      video.currentTime = (k + 0.5) / fps;
    });

    // Frame and labels change together, and the latest wish wins
    const draw = async () => {
      while (showing !== wanted) {
        const k = wanted;
        const [found] = await Promise.all([labelsOf(k), video ? seek(k) : pictureOf(k)]);
        if (!video) look.picture.setAttribute("href", address(k));
        look.resize(...sizes[Math.min(k, sizes.length - 1)]);
        look.drawn.innerHTML = found ? found.drawn : "";
        listed.innerHTML = found ? found.listed : `<p class="nothing">The labels of this ${noun} could not be loaded.</p>`;
        look.svg.setAttribute("aria-label", `${look.svg.dataset.title}, ${noun} ${k}: ${found ? counted(all(".label", look.drawn).length, "object") : "labels not loaded"}`);
        look.show();
        showing = k;
        panel.dataset.shown = String(k);
        scrub.value = String(k);
        if (document.activeElement !== number) number.value = String(k);
        if (at) at.value = String(k);
        const head = one("[data-playhead] rect", panel);
        if (head) head.setAttribute("x", String(1000 * (k + 0.5) / frames));
        if (!found) setTimeout(() => { if (wanted === k) again(); }, 2000);
      }
    };
    let drawing = Promise.resolve();
    const again = () => { showing = null; drawing = drawing.then(draw); };
    const go = (k) => {
      wanted = frame = clamp(Math.floor(k) || 0, 0, frames - 1);
      if (!video) for (let ahead = 1; ahead <= (playing ? 8 : 2); ahead += 1) if (wanted + ahead < frames) pictureOf(wanted + ahead);
      drawing = drawing.then(draw);
      const url = new URL(location.href);
      url.searchParams.set("frame", String(frame));
      history.replaceState(null, "", url);
      return drawing;
    };
    const button = one('[data-do="play"]', panel);
    const setPlaying = (on) => {
      playing = on;
      button.setAttribute("aria-label", on ? "Pause" : "Play");
      one("use", button).setAttribute("href", on ? "#i-pause" : "#i-play");
    };
    const play = async () => {
      if (playing) { setPlaying(false); return; }
      setPlaying(true);
      if (frame === frames - 1) await go(0);
      const start = performance.now(), from = frame;
      while (playing && frame < frames - 1) {
        await new Promise((next) => requestAnimationFrame(next));
        const due = from + Math.floor((performance.now() - start) * fps / 1000);
        if (due > frame) await go(due);
      }
      setPlaying(false);
    };
    button.addEventListener("click", play);
    one('[data-do="back"]', panel).addEventListener("click", (event) => { event.preventDefault(); go(frame - 1); });
    one('[data-do="forth"]', panel).addEventListener("click", (event) => { event.preventDefault(); go(frame + 1); });
    scrub.addEventListener("input", () => { setPlaying(false); go(Number(scrub.value)); });
    const typed = () => { go(Number(number.value)); number.value = String(frame); };
    number.addEventListener("change", typed);
    number.form.addEventListener("submit", (event) => { event.preventDefault(); typed(); });
    panel.addEventListener("click", (event) => {
      const row = event.target.closest(".track-row");
      if (!row) return;
      const box = one("svg:not(.swatch)", row).getBoundingClientRect();
      if (event.clientX >= box.left) go(Math.floor(frames * (event.clientX - box.left) / box.width));
    });
    go(frame);
    // Other labels than those that were fetched
    const forget = () => { labels.clear(); chunks.clear(); again(); };
    return { go, play, forget, step: (by) => { setPlaying(false); go(frame + by); } };
  }

  async function sound(root) {
    const canvas = one("[data-wave]", root), audio = one("[data-sound]", root);
    const context = canvas.getContext("2d");
    let peaks = [];
    const draw = () => {
      const { width, height } = canvas;
      context.clearRect(0, 0, width, height);
      const played = audio.duration ? audio.currentTime / audio.duration : 0;
      const head = one("[data-playhead] rect", root);
      if (head) head.setAttribute("x", String(1000 * played));
      peaks.forEach((peak, index) => {
        context.fillStyle = index / peaks.length <= played ? "#a5a1ff" : "#6c6c80";
        const tall = Math.max(2, peak * (height - 8));
        context.fillRect(index * 4, (height - tall) / 2, 3, tall);
      });
    };
    try {
      const bytes = await (await fetch(audio.src)).arrayBuffer();
      const decoded = await new OfflineAudioContext(1, 1, 44100).decodeAudioData(bytes);
      const samples = decoded.getChannelData(0), count = Math.floor(canvas.width / 4), step = Math.max(1, Math.floor(samples.length / count));
      for (let index = 0; index < count; index += 1) {
        let peak = 0;
        for (let at = index * step; at < Math.min((index + 1) * step, samples.length); at += Math.max(1, step >> 8)) peak = Math.max(peak, Math.abs(samples[at]));
        peaks.push(peak);
      }
      const loudest = Math.max(...peaks) || 1;
      peaks = peaks.map((peak) => peak / loudest);
      canvas.dataset.drawn = String(peaks.length);
    } catch { /* the browser does not know the format: its own player says so */ }
    draw();
    audio.addEventListener("timeupdate", draw);
    const seek = (share) => { if (audio.duration) audio.currentTime = audio.duration * clamp(share, 0, 1); };
    canvas.addEventListener("click", (event) => seek(event.offsetX / canvas.clientWidth));
    root.addEventListener("click", (event) => {
      const row = event.target.closest(".track-row");
      if (!row) return;
      const box = one("svg:not(.swatch)", row).getBoundingClientRect();
      if (event.clientX >= box.left) seek((event.clientX - box.left) / box.width);
    });
  }

  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || dialog.open) return;
    const target = event.target;
    if (target.closest("input:not([type=checkbox]), select, textarea, audio, video")) {
      if (event.key === "Escape") target.blur();
      return;
    }
    const follow = () => { const link = one(`[data-key="${event.key}"]`); if (link) { event.preventDefault(); link.click(); } };
    const act = (work) => { if (work) { event.preventDefault(); work(); } };
    switch (event.key) {
      case "ArrowLeft": case "ArrowRight": if (!target.closest(".graph, .tracks, pre")) follow(); break;
      case "Escape": follow(); break;
      case ",": case "<": act(player && (() => player.step(event.shiftKey ? -10 : -1))); break;
      case ".": case ">": act(player && (() => player.step(event.shiftKey ? 10 : 1))); break;
      case " ": if (!target.closest("button, a, summary, label, input")) act(player ? player.play : audio && (() => (audio.paused ? audio.play() : audio.pause()))); break;
      case "l": case "L": act(look && look.tools.labels); break;
      case "t": case "T": act(look && look.tools.names); break;
      case "+": case "=": act(look && look.tools.in); break;
      case "-": act(look && look.tools.out); break;
      case "0": act(look && look.tools.fit); break;
      case "/": { const search = one("#search"); if (search) { event.preventDefault(); search.focus(); } break; }
      case "d": case "D": setTheme(isDark() ? "light" : "dark"); break;
      case "?": dialog.showModal(); break;
    }
  });
})();
