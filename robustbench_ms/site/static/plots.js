"use strict";
// Pictures. plotly is fetched from beside the page when the first one comes into view.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const MANY = 8; // curves that are shown at first; the others wait in the legend
  const CARRIED = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6bb1", "#7f7f7f"];
  // plotly reads a little markup in texts.
  const safe = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  // In the middle, as names that stand together begin and end alike and differ in one of both.
  const cut = (text, most) => safe(text.length > most ? `${text.slice(0, Math.ceil(most / 2) - 2)}...${text.slice(1 - Math.floor(most / 2))}` : text);
  const brief = (text) => cut(text, innerWidth < 700 ? 20 : 32);
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const mean = (found) => (found.length ? found.reduce((a, b) => a + b, 0) / found.length : null);

  let loading;
  function plotly() {
    loading ??= new Promise((done, failed) => {
      const script = document.createElement("script");
      script.src = "plotly.min.js";
      script.onload = () => done(window.Plotly);
      script.onerror = failed;
      document.head.append(script);
    });
    return loading;
  }

  function layout(x, y, more = {}) {
    const axis = (title) => ({ title: { text: safe(title), standoff: 8 }, gridcolor: css("--line"), zeroline: false, automargin: true });
    return {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: css("--ink"), size: 13 },
      margin: { l: 56, r: 12, t: 12, b: 48 }, hovermode: "closest", colorway: CARRIED,
      legend: { orientation: "h", y: -0.2 }, height: 400, ...more,
      xaxis: { ...axis(x), ...more.xaxis }, yaxis: { ...axis(y), ...more.yaxis },
    };
  }

  const unit = (metric) => metric.label + (metric.unit ? `, ${metric.unit}` : "");
  const scaled = (metric, value) => (value === null ? null : value * metric.scale);

  function pareto(p, [choice]) {
    const cost = p.costs[choice];
    const front = new Set(cost.front);
    const [least, most] = [Math.min(...cost.x), Math.max(...cost.x)];
    const log = least > 0 && most > 5 * least;
    const across = (x) => (log ? Math.log(x / least) / Math.log(most / least) : (x - least) / (most - least || 1));
    // Names of the front stand in the picture where there is room for them; the caption has all.
    const far = innerWidth < 700 ? 0.4 : 0.25;
    const high = Math.max(...cost.y) - Math.min(...cost.y);
    const labels = cost.front.map((i) => {
      const [at, side] = [across(cost.x[i]), across(cost.x[i]) > 0.5 ? -1 : 1];
      const crowded = cost.x.some((x, j) => j !== i && side * (across(x) - at) >= 0 && side * (across(x) - at) < far && Math.abs(cost.y[j] - cost.y[i]) < 0.35 * high);
      return crowded ? "" : brief(cost.models[i]);
    });
    const y = cost.y.map((v) => scaled(p.column, v));
    const of = (some) => some.map((i) => cost.models[i]);
    const hollow = (some) => some.map((i) => (cost.unsteady[i] ? "circle-open" : "circle"));
    const bars = (array) => ({ type: "data", array, color: css("--soft"), thickness: 1 });
    const trace = (name, some, more) => ({
      name, x: some.map((i) => cost.x[i]), y: some.map((i) => y[i]), text: of(some).map(safe), type: "scatter",
      hovertemplate: "%{text}<br>%{x:.4g}, %{y:.2f}<extra></extra>", ...more,
      error_y: bars(some.map((i) => scaled(p.column, cost.half[i]))),
      error_x: { ...bars(some.map((i) => cost.ends[i][1] - cost.x[i])), symmetric: false, arrayminus: some.map((i) => cost.x[i] - cost.ends[i][0]) },
    });
    const others = cost.models.map((_, i) => i).filter((i) => !front.has(i));
    return [
      [
        trace("beaten", others, { mode: "markers", marker: { size: 8, color: css("--soft"), symbol: hollow(others) } }),
        trace("Pareto front", cost.front, {
          mode: "lines+markers+text", line: { shape: "hv", color: CARRIED[0] }, marker: { size: 11, color: CARRIED[0], symbol: hollow(cost.front) },
          text: labels, textposition: cost.front.map((i) => (across(cost.x[i]) > 0.5 ? "top left" : "bottom right")), cliponaxis: false,
          customdata: of(cost.front).map(safe), hovertemplate: "%{customdata}<br>%{x:.4g}, %{y:.2f}<extra></extra>",
        }),
      ],
      layout(cost.name, unit(p.column), { xaxis: { type: log ? "log" : "linear" } }),
      `The front, from the cheapest: ${of(cost.front).join(", ")}. `,
    ];
  }

  // The mean over all cells with one value of an axis.
  function along(p, model, metric, axis) {
    const values = model.values[metric.name];
    return axis.values.map((value) => {
      const found = p.keys.flatMap((key, i) =>
        key.split(",").includes(`${axis.name}=${value}`) && values[i] !== null ? [values[i]] : []);
      return scaled(metric, mean(found));
    });
  }

  function curves(p, [which]) {
    const metric = p.metrics[which];
    const axis = p.axes[p.axes.length - 1];
    const clean = p.keys.indexOf("clean");
    const traces = p.models.filter((m) => m.values[metric.name]).map((model, i) => ({
      name: brief(model.name), type: "scatter", mode: "lines+markers", visible: i < MANY ? true : "legendonly",
      x: [...(clean < 0 ? [] : ["clean"]), ...axis.values],
      y: [...(clean < 0 ? [] : [scaled(metric, model.values[metric.name][clean])]), ...along(p, model, metric, axis)],
    }));
    return [traces, layout(axis.name, unit(metric), { xaxis: { type: "category" }, height: 460 })];
  }

  function heat(p, [which]) {
    const metric = p.metrics[which];
    const models = p.models.filter((m) => m.values[metric.name]);
    const axis = p.axes[0];
    const narrow = innerWidth < 700;
    const z = models.map((model) => along(p, model, metric, axis));
    return [
      [{
        type: "heatmap", x: axis.values.map(safe), y: models.map((m) => brief(m.name)), z, colorscale: "Viridis",
        reversescale: metric.sign < 0, hoverongaps: false, colorbar: { title: { text: safe(unit(metric)) }, thickness: 12, ...(narrow ? { orientation: "h", y: 1.02, yanchor: "bottom" } : {}) },
        hovertemplate: "%{y}<br>%{x}: %{z:.2f}<extra></extra>",
      }],
      layout("", "", { height: Math.max(230, 170 + 19 * models.length), margin: { l: 40, r: 8, t: narrow ? 60 : 12, b: 90 }, font: { color: css("--ink"), size: narrow ? 10 : 13 }, xaxis: { type: "category", tickangle: -45 }, yaxis: { type: "category", autorange: "reversed" } }),
    ];
  }

  function shift(p) {
    const s = p.shift;
    const per = (found) => found.map((v) => 100 * v);
    // A share ends at 0 and at 100 %, and so do its bars.
    const bars = (half, at) => ({
      type: "data", symmetric: false, color: css("--soft"), thickness: 1, width: 0,
      array: per(half.map((v, i) => Math.min(v, 1 - at[i]))), arrayminus: per(half.map((v, i) => Math.min(v, at[i]))),
    });
    const traces = [{
      type: "scatter", mode: "markers", name: "models", x: per(s.x), y: per(s.y), marker: { size: 9 }, showlegend: false,
      error_x: bars(s.half[0], s.x), error_y: bars(s.half[1], s.y),
      text: s.models.map(safe), hovertemplate: "%{text}<br>%{x:.1f}, %{y:.1f}<extra></extra>",
    }];
    if (s.line) traces.push({ type: "scatter", mode: "lines", name: "line", x: per(s.line.x), y: per(s.line.y), showlegend: false });
    return [traces, layout(`${s.labels[0]}, %`, `${s.labels[1]}, %`)];
  }

  // Names at the left, a number with its interval each; `rows` are {name, at, low, high, hollow, told}, the first on top.
  function dots(rows, title, more = {}) {
    const narrow = innerWidth < 700;
    const names = rows.map((r) => brief(r.name));
    // plotly puts equal names on one line: a place each, named by hand.
    const places = rows.map((_, i) => i);
    return [
      [{
        type: "scatter", mode: "markers", x: rows.map((r) => r.at), y: places, showlegend: false,
        marker: { size: 9, color: CARRIED[0], symbol: rows.map((r) => (r.hollow ? "circle-open" : "circle")), line: { width: 2 } },
        error_x: { type: "data", symmetric: false, array: rows.map((r) => r.high - r.at), arrayminus: rows.map((r) => r.at - r.low), color: css("--soft"), thickness: 1.5, width: 0 },
        text: rows.map((r) => safe(r.told)), hovertemplate: "%{text}<extra></extra>",
      }],
      layout(title, "", {
        height: 110 + 24 * rows.length, margin: { l: 40, r: 14, t: 12, b: 48 }, font: { color: css("--ink"), size: narrow ? 11 : 13 }, ...more,
        yaxis: { tickmode: "array", tickvals: places, ticktext: names, range: [rows.length - 0.4, -0.6] },
      }),
    ];
  }

  const ends = (low, high, digits = 1) => `${low.toFixed(digits)} to ${high.toFixed(digits)}`;

  function effective(p) {
    const { models, line } = p.shift;
    const rows = models.map((name, i) => {
      const [at, low, high] = [line.rho[i], line.rho_low[i], line.rho_high[i]].map((v) => 100 * v);
      return { name, at, low, high, told: `${name}: ${at.toFixed(1)} (${ends(low, high)})` };
    }).sort((a, b) => b.at - a.at);
    const [traces, shape] = dots(rows, "effective robustness, pp");
    return [traces, { ...shape, shapes: [{ type: "line", x0: 0, x1: 0, yref: "paper", y0: 0, y1: 1, line: { color: css("--soft"), dash: "dot", width: 1 } }] }];
  }

  // What may stand side by side: rows of one input, or of one input and batch.
  function apart(p, of) {
    return [...new Set(p.timed.map(of))];
  }
  const ofInput = (one) => `input ${one.input}`;
  const ofBatch = (one) => `batch ${one.batch}, input ${one.input}`;

  function latency(p, [which]) {
    const wanted = apart(p, ofBatch)[which];
    const rows = p.timed.filter((one) => ofBatch(one) === wanted && one.median).map((one) => ({
      name: one.model, at: one.median[0], low: one.median[1], high: one.median[2], hollow: Boolean(one.unsteady),
      told: `${one.model}: ${one.median[0].toPrecision(3)} ms (${one.median.slice(1).map((v) => v.toPrecision(3)).join(" to ")})${one.p99 ? `, 99 % within ${one.p99[0].toPrecision(3)} ms` : ""}${one.unsteady ? `; unsteady: ${one.unsteady}` : ""}`,
    }));
    return dots(rows.sort((a, b) => a.at - b.at), "median latency, ms", { xaxis: { rangemode: "tozero" } });
  }

  function throughput(p, [which]) {
    const wanted = apart(p, ofInput)[which];
    const rows = p.timed.filter((one) => ofInput(one) === wanted && one.median);
    const bars = (some, minus, more) => ({ type: "data", symmetric: false, array: some.map((e) => e[more] - e[0]), arrayminus: some.map((e) => e[0] - e[minus]), thickness: 1, width: 0 });
    const traces = [...new Set(rows.map((one) => one.model))].map((model, i) => {
      const mine = rows.filter((one) => one.model === model).sort((a, b) => a.batch - b.batch);
      return {
        name: brief(model), type: "scatter", mode: "lines+markers", visible: i < MANY ? true : "legendonly",
        x: mine.map((one) => one.median[0]), y: mine.map((one) => one.images[0]),
        error_x: bars(mine.map((one) => one.median), 1, 2), error_y: bars(mine.map((one) => one.images), 1, 2),
        marker: { size: 9, symbol: mine.map((one) => (one.unsteady ? "circle-open" : "circle")) },
        text: mine.map((one) => `${safe(model)}, batch ${one.batch}${one.unsteady ? "<br>unsteady" : ""}`),
        hovertemplate: "%{text}<br>%{x:.3g} ms, %{y:,.0f} images/s<extra></extra>",
      };
    });
    return [traces, layout("median latency of a call, ms", "images/s", { height: 460, xaxis: { type: "log" }, yaxis: { type: "log" } })];
  }

  function reliability(p, [which]) {
    const { bins } = p.models.filter((m) => m.bins)[which];
    const traces = Object.entries(bins).map(([name, rows]) => ({
      name, type: "scatter", mode: "lines+markers", x: rows.map((r) => r[1]), y: rows.map((r) => r[2]),
      text: rows.map((r) => `${r[0].toLocaleString("en")} answers`), hovertemplate: "%{text}<br>%{x:.2f}, %{y:.2f}<extra></extra>",
    }));
    traces.push({ name: "calibrated", type: "scatter", mode: "lines", x: [0, 1], y: [0, 1], line: { dash: "dot", color: css("--soft") }, hoverinfo: "skip" });
    return [traces, layout("confidence", "accuracy", { xaxis: { range: [0, 1.02] }, yaxis: { range: [0, 1.02] } })];
  }

  function slope(s) {
    if (!s.line) return `No line: ${s.why}.`;
    const { slope: b, low, high, r2, n } = s.line;
    return `Line on probit axes over ${n} models: slope ${b.toFixed(2)} (95 % interval ${ends(low, high, 2)}), R2 ${r2.toFixed(2)}. Bars are 95 % intervals.`;
  }

  function kinds(p) {
    return p.timed ? timings(p) : answers(p);
  }

  function timings(p) {
    if (!p.timed.some((one) => one.median)) return [];
    const found = [["Input and batch", apart(p, ofBatch)], ["Input", apart(p, ofInput)]].map(([name, all]) => [[name, all.map((text, i) => [text, i])]]);
    const hollow = "Hollow: unsteady, which decides nothing.";
    return [
      { id: "latency", title: "Latency", draw: latency, choices: found[0], told: `Bars are 95 % intervals of the median. ${hollow}` },
      { id: "throughput", title: "Throughput against latency", draw: throughput, choices: found[1], told: `A point a batch size, with 95 % intervals; the others wait in the legend. ${hollow}` },
    ];
  }

  function answers(p) {
    const metrics = p.metrics.map((m, i) => [m, i]).filter(([m]) => p.models.some((one) => one.values[m.name])).map(([m, i]) => [m.label, i]);
    const found = [];
    const calibration = p.metrics.some((m) => m.calibration && metrics.some(([label]) => label === m.label));
    if (p.costs.length) found.push({ id: "pareto", title: "Accuracy against cost", draw: pareto, choices: [["Cost", p.costs.map((c, i) => [c.name, i])]], told: "No other model costs less and is better than one on the front. Bars are 95 % intervals; time holds on its device alone, and hollow points were timed while it was unsteady." });
    if (p.shift) found.push({ id: "shift", title: "Clean against corrupted", draw: shift, choices: [], told: slope(p.shift) });
    if (p.shift?.line) found.push({ id: "effective", title: "Effective robustness", draw: effective, choices: [], told: "Corrupted accuracy less what the line through the other models has at the same clean accuracy, with its 95 % interval; a model's own point is no part of its line." });
    if (p.axes.length && metrics.length) {
      const last = p.axes[p.axes.length - 1].name;
      found.push({ id: "curves", title: `Under rising ${last}`, draw: curves, choices: [["Number", metrics]], told: `Means over the cells of each ${last}${calibration ? `; choose a calibration error to see calibration under ${last}` : ""}.${p.models.length > MANY ? " The other models wait in the legend." : ""}` });
    }
    if (p.models.some((m) => m.bins)) found.push({ id: "reliability", title: "Reliability", draw: reliability, choices: [["Model", p.models.filter((m) => m.bins).map((m, i) => [m.name, i])]], told: "Accuracy of the answers in each bin of confidence; of several seeds the first one's." });
    if (p.axes.length && metrics.length) found.push({ id: "heat", wide: true, title: `Each ${p.axes[0].name} and model`, draw: heat, choices: [["Number", metrics]], told: p.axes.length > 1 ? `Means over ${p.axes[1].name}; gaps were not measured.` : "Gaps were not measured." });
    const halves = found.filter((one) => !one.wide);
    if (halves.length % 2) halves[halves.length - 1].wide = true; // no hole in the grid
    return found;
  }

  const drawn = new Set();
  async function draw(one) {
    const library = await plotly();
    const [traces, shape, more = ""] = one.draw(one.p, one.selects.map((s) => Number(s.value)));
    if (innerWidth < 700) shape.legend.font = { size: 11 };
    if (traces.length > 5) shape.legend.y = -0.3; // many names leave the picture less height, of which this is a part
    one.caption.textContent = more + one.told;
    await library.react(one.canvas, traces, shape, { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d"] });
    one.canvas.dataset.drawn = "1";
    drawn.add(one);
  }

  const seen = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      seen.unobserve(target);
      draw(target.one_);
    }
  }, { rootMargin: "100px" });

  for (const place of document.querySelectorAll(".plots")) {
    const at = place.dataset.table;
    const p = data.tables[at].pictures;
    if (!p.models && !p.timed) continue;
    for (const kind of kinds(p)) {
      const figure = document.createElement("figure");
      figure.className = kind.wide ? "wide" : "";
      const title = document.createElement("h3");
      title.textContent = kind.title;
      const canvas = document.createElement("div");
      canvas.className = "canvas";
      canvas.id = `${kind.id}-${at}`;
      const caption = document.createElement("figcaption");
      caption.textContent = kind.told;
      const one = { ...kind, p, canvas, caption };
      one.selects = kind.choices.map(([name, options]) => {
        const label = document.createElement("label");
        const select = document.createElement("select");
        for (const [text, value] of options) select.add(new Option(text, value));
        select.addEventListener("change", () => draw(one));
        label.append(`${name} `, select);
        figure.append(label);
        return select;
      });
      if (one.selects.length && one.selects[0].length < 2) one.selects[0].parentElement.hidden = true;
      figure.prepend(title);
      figure.append(canvas, caption);
      figure.one_ = one;
      place.append(figure);
      seen.observe(figure);
    }
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawn.forEach(draw));
})();
