// What pages do beyond their forms and links; without it they work as well.
"use strict";

(() => {
  const skew = Date.parse(document.body.dataset.now) - Date.now();

  // --- how long until something fires -----------------------------------------------------------

  const UNITS = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];

  function told(seconds) {
    const parts = [];
    let left = Math.round(seconds);
    for (const [unit, size] of UNITS) {
      const count = Math.floor(left / size);
      left -= count * size;
      if (count || parts.length) parts.push(count ? `${count} ${unit}` : "");
      if (parts.length === 2) break;
    }
    return parts.filter(Boolean).join(" ");
  }

  function countDown() {
    for (const time of document.querySelectorAll("time[data-countdown]")) {
      const seconds = (Date.parse(time.dateTime) - Date.now() - skew) / 1000;
      const text = Math.abs(seconds) < 1 ? "now" : seconds > 0 ? `in ${told(seconds)}` : `${told(-seconds)} ago`;
      if (time.textContent !== text) time.textContent = text;
    }
  }

  // --- charts -------------------------------------------------------------------------------------

  const MEANING = { runs: "good", failed: "bad", p50: "good", p95: "warn", p99: "bad" };
  let drawn = [];

  function colourOf(meaning, within) {
    const probe = document.createElement("span");
    probe.className = meaning === "line" ? "probe-line" : `status is-${meaning}`;
    within.append(probe);
    const colour = getComputedStyle(probe).color;
    probe.remove();
    return colour;
  }

  function seriesOf(name, within) {
    const colour = colourOf(MEANING[name], within);
    const bars = name === "runs" || name === "failed";
    return bars
      ? { label: name, fill: colour, stroke: colour, width: 0, paths: uPlot.paths.bars({ size: [0.7, 12] }), points: { show: false } }
      : { label: name, stroke: colour, width: 1.5, points: { show: true, size: 4 }, spanGaps: true };
  }

  function draw() {
    drawn.forEach((plot) => plot.destroy());
    drawn = [];
    const charts = document.getElementById("charts");
    if (!charts || typeof uPlot === "undefined") return;
    const data = JSON.parse(charts.dataset.chart);
    for (const place of charts.querySelectorAll(".chart")) {
      const names = place.dataset.lines.split(" ");
      const axis = { stroke: getComputedStyle(place).color, grid: { stroke: colourOf("line", place), width: 1 }, ticks: { show: false } };
      const options = {
        width: place.clientWidth, height: 160, legend: { show: false }, cursor: { show: false },
        tzDate: (at) => uPlot.tzDate(new Date(at * 1000), "Etc/UTC"),
        scales: { y: { range: (_, low, high) => [0, Math.max(high || 0, names[0] === "runs" ? 4 : 0.01) * 1.1] } },
        axes: [{ ...axis, values: (_, ticks) => ticks.map((at) => new Date(at * 1000).toISOString().slice(11, 16)), size: 28 }, { ...axis, size: 48 }],
        series: [{}, ...names.map((name) => seriesOf(name, place))],
      };
      drawn.push(new uPlot(options, [data.at, ...names.map((name) => data[name])], place));
    }
  }

  // --- live parts -----------------------------------------------------------------------------------

  function isUsed(live) {
    const active = document.activeElement;
    const chosen = getSelection();
    const reads = chosen && !chosen.isCollapsed && live.contains(chosen.anchorNode);
    // What has an id gets its focus back in the new part; all else would lose it.
    return reads || (live.contains(active) && !active.id) || live.querySelector("details[open]");
  }

  // A log stays at its end, unless somebody has scrolled up in it.
  let scrolled = null;

  function remember(log) {
    const end = log ? log.scrollHeight - log.clientHeight : 0;
    scrolled = log && end - log.scrollTop > 24 ? log.scrollTop : null;
  }

  function follow(log) {
    if (log) log.scrollTop = scrolled ?? log.scrollHeight;
  }

  let announced = document.getElementById("live")?.dataset.announce;

  function settle() {
    countDown();
    draw();
    follow(document.querySelector("[data-tail]"));
    const now = document.getElementById("live")?.dataset.announce;
    if (now && now !== announced) document.getElementById("announce").textContent = `The run is ${now}`;
    announced = now;
  }

  document.body.addEventListener("htmx:beforeRequest", (event) => {
    const target = event.detail.target;
    if (target.id === "live" && (document.hidden || followed || isUsed(target))) event.preventDefault();
  });
  document.body.addEventListener("htmx:beforeSwap", (event) => {
    const target = event.detail.target;
    if (target.id === "live" && isUsed(target)) event.detail.shouldSwap = false;
    remember(document.querySelector("[data-tail]"));
  });
  document.body.addEventListener("htmx:afterSettle", settle);

  // --- a run is followed as it happens; where that can't be, it is asked for again and again --------

  let stream = null;
  let followed = false;
  let waiting = null;

  function take(part) {
    waiting = part ?? waiting;
    const live = document.getElementById("live");
    if (waiting === null || !live || isUsed(live)) return;
    const focused = document.activeElement?.id;
    remember(document.querySelector("[data-tail]"));
    live.outerHTML = waiting;
    waiting = null;
    htmx.process(document.getElementById("live"));
    if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
    settle();
  }

  function leave() {
    stream?.close();
    stream = null;
    followed = false;
  }

  function listen() {
    const address = document.querySelector("#live[data-follow]")?.dataset.follow;
    if (!address || document.hidden || stream || typeof EventSource === "undefined") return;
    stream = new EventSource(address);
    stream.addEventListener("run", (event) => { followed = true; take(event.data); });
    stream.addEventListener("over", (event) => { leave(); take(event.data); });
    stream.addEventListener("gone", () => { leave(); location.reload(); });
    stream.addEventListener("error", () => { followed = false; });
  }

  // A browser has few connections to a host: pages that nobody sees leave theirs to others.
  document.addEventListener("visibilitychange", () => (document.hidden ? leave() : listen()));
  addEventListener("pagehide", leave);
  addEventListener("pageshow", listen);

  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);

  let resized = 0;
  addEventListener("resize", () => { clearTimeout(resized); resized = setTimeout(draw, 150); });

  settle();
  setInterval(() => { countDown(); take(); }, 1000);
  listen();
})();
