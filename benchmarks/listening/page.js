// The test: two sounds of one pair in step, an answer for each pair, results at the end.
const TEST = JSON.parse(document.getElementById("data").textContent);
const KEY = JSON.parse(atob(TEST.key));
const SIDES = ["a", "b"];
const FADE = 0.005; // s, so that neither a switch nor the loop's seam clicks
const PAUSE = 0.3; // s of silence before the loop begins again
const $ = (id) => document.getElementById(id);

// Answers survive a reload where the browser lets a file keep them.
const KEPT = `unmel-listen-${TEST.id}`;
function recall() {
  try {
    const kept = JSON.parse(localStorage.getItem(KEPT));
    const fits = kept.answers.length <= KEY.length && kept.answers.every((a) => SIDES.includes(a));
    return fits ? kept : null;
  } catch { return null; }
}
function keep() {
  try { localStorage.setItem(KEPT, JSON.stringify(state)); } catch { /* not kept */ }
}
let state = recall() ?? { answers: [], finished: false };

// The player.
let context = null;
let sounds = null; // promise of the pair's buffers
let playing = null; // {sources, gains, began}
let side = null; // the one that sounds, or that is about to
let latest = "a"; // the one that Space plays
let place = 0; // s, where it goes on
let heard = new Set();

/** Samples of a WAV file with soft ends and a pause behind, played at the device's rate. */
async function decode(text) {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const audio = await context.decodeAudioData(bytes.buffer);
  const rate = audio.sampleRate;
  const longer = context.createBuffer(1, audio.length + Math.round(PAUSE * rate), rate);
  const samples = longer.getChannelData(0);
  samples.set(audio.getChannelData(0));
  const soft = Math.min(Math.round(FADE * rate), audio.length);
  for (let k = 0; k < soft; k++) {
    samples[k] *= k / soft;
    samples[audio.length - 1 - k] *= k / soft;
  }
  return longer;
}

function position() {
  if (!playing) return place;
  const { buffer, loop } = playing.sources[0];
  const now = Math.max(0, context.currentTime - playing.began);
  return loop ? now % buffer.duration : Math.min(now, buffer.duration);
}

function stop() {
  place = position();
  if (playing) {
    playing.sources[0].onended = null;
    const { sources, gains } = playing;
    gains.forEach((gain) => gain.gain.setTargetAtTime(0, context.currentTime, FADE / 3));
    sources.forEach((source) => source.stop(context.currentTime + 3 * FADE));
  }
  playing = side = null;
  show();
}

/** Switch both on at `place`, one of them silent. */
function start(buffers) {
  const sources = buffers.map((buffer) => {
    const source = context.createBufferSource();
    Object.assign(source, { buffer, loop: $("loop").checked });
    return source;
  });
  const gains = sources.map((source, k) => {
    const gain = context.createGain();
    gain.gain.value = SIDES[k] === side ? 1 : 0;
    source.connect(gain).connect(context.destination);
    return gain;
  });
  if (place >= buffers[0].duration) place = 0;
  const at = context.currentTime;
  sources.forEach((source) => source.start(at, place));
  playing = { sources, gains, began: at - place };
  sources[0].onended = () => { stop(); place = 0; show(); };
  requestAnimationFrame(follow);
}

async function play(wanted) {
  if (side === wanted) return stop();
  side = latest = wanted;
  show();
  if (playing) {
    playing.gains.forEach((gain, k) =>
      gain.gain.setTargetAtTime(SIDES[k] === side ? 1 : 0, context.currentTime, FADE / 3));
  } else {
    try {
      context ??= new AudioContext();
      const { a, b } = TEST.pairs[state.answers.length];
      const asked = sounds ??= Promise.all([decode(a), decode(b)]);
      const [buffers] = await Promise.all([asked, context.resume()]);
      // Stopped, or on to the next pair, or started by another press meanwhile.
      if (asked !== sounds || side === null || playing) return;
      start(buffers);
    } catch (fault) {
      $("fault").textContent = `This browser cannot play the pair: ${fault.message ?? fault}`;
      return stop();
    }
  }
  heard.add(side);
  show();
}

function follow() {
  if (!playing) return;
  const length = playing.sources[0].buffer.duration;
  $("position").value = position() / length;
  requestAnimationFrame(follow);
}

async function seek() {
  const share = Number($("position").value);
  const was = side;
  const buffers = await sounds;
  if (!buffers) return;
  stop();
  place = share * buffers[0].duration;
  if (was) { side = was; start(buffers); show(); }
}

// The test.
function answer(given) {
  if (state.finished || heard.size < 2) return;
  state.answers.push(given);
  state.finished = state.answers.length === KEY.length;
  keep();
  next();
}

function next() {
  stop();
  place = 0;
  sounds = null;
  latest = "a";
  heard = new Set();
  show();
  if (state.finished) tell();
  else $("play-a").focus();
}

/** What the state looks like. */
function show() {
  const done = state.answers.length;
  $("trial").hidden = state.finished;
  $("results").hidden = !state.finished;
  const text = `Pair ${Math.min(done + 1, KEY.length)} of ${KEY.length}`;
  if ($("number").textContent !== text) $("number").textContent = text;
  $("answered").max = KEY.length;
  $("answered").value = done;
  for (const one of SIDES) {
    $(`play-${one}`).setAttribute("aria-pressed", String(side === one));
    $(`answer-${one}`).disabled = heard.size < 2;
  }
  if (!playing) $("position").value = place;
  $("position").disabled = heard.size === 0;
  const say = heard.size < 2 ? "Listen to both, then answer." : "Both heard: answer with 1 or 2.";
  if ($("heard").textContent !== say) $("heard").textContent = say;
  $("finish").disabled = done === 0;
}

/** One object an answer, as the CSV file has them. */
function records() {
  return state.answers.map((given, k) => {
    const { a, b, ...facts } = TEST.pairs[k];
    return { pair: k + 1, ...facts, original: KEY[k], answer: given, right: Number(given === KEY[k]) };
  });
}

const percent = (share) => `${(100 * share).toFixed(0)} %`;
const small = (p) => (p < 0.001 ? "< 0.001" : p.toFixed(3));

function row(name, some) {
  const right = some.filter((record) => record.right).length;
  const [low, high] = wilson(right, some.length);
  const interval = `${(100 * low).toFixed(0)} to ${percent(high)}`;
  return [name, `${right} of ${some.length}`, percent(right / some.length), interval,
    small(chance(right, some.length))];
}

function tell() {
  const all = records();
  const groups = new Map([["all", all]]);
  const group = (name) => {
    if (!groups.has(name)) groups.set(name, all.filter((record) => names(record).includes(name)));
  };
  const several = new Set(TEST.pairs.map((pair) => pair.voice)).size > 1;
  const names = ({ preset, quality, voice }) =>
    [`${preset}, ${quality}`, ...(several ? [`voice ${voice}`] : [])];
  for (const k of several ? [0, 1] : [0]) all.map((record) => names(record)[k]).sort().forEach(group);
  const rows = [...groups].map(([name, some]) => row(name, some));
  $("results").querySelector("tbody").replaceChildren(...rows.map((cells) => {
    const line = document.createElement("tr");
    cells.forEach((text, k) => {
      const cell = document.createElement(k ? "td" : "th");
      if (!k) cell.scope = "row";
      cell.textContent = text;
      line.append(cell);
    });
    return line;
  }));
  const [, right, share, interval, p] = rows[0];
  $("summary").textContent =
    `${right} right: ${share} (95 % interval ${interval}), p ${p.startsWith("<") ? p : `= ${p}`}.`;
  $("done").focus();
}

function csv() {
  const quoted = (value) => `"${String(value).replaceAll('"', '""')}"`;
  const all = records();
  const lines = [Object.keys(all[0]), ...all.map(Object.values)];
  return lines.map((line) => line.map(quoted).join(",") + "\r\n").join("");
}

function save() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
  link.download = "listen.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

for (const one of SIDES) {
  $(`play-${one}`).addEventListener("click", () => play(one));
  $(`answer-${one}`).addEventListener("click", () => answer(one));
}
$("position").addEventListener("input", seek);
$("loop").addEventListener("change", () => {
  if (!playing) return;
  const at = position();
  playing.sources.forEach((source) => { source.loop = $("loop").checked; });
  playing.began = context.currentTime - at;
});
$("finish").addEventListener("click", () => { state.finished = true; keep(); next(); });
$("save").addEventListener("click", save);
$("again").addEventListener("click", () => {
  state = { answers: [], finished: false };
  keep();
  next();
});

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || state.finished) return;
  const pressed = event.key.toLowerCase();
  if (SIDES.includes(pressed)) {
    // The focus moves along, so that Space, which presses what has it, pauses the one that sounds.
    $(`play-${pressed}`).focus();
    if (side !== pressed) play(pressed);
  } else if (pressed === "1" || pressed === "2") {
    answer(SIDES[pressed - 1]);
  } else if (pressed === " " && !event.target.closest("button, input[type=checkbox]")) {
    event.preventDefault();
    play(side ?? latest);
  }
});

show();
if (state.finished) tell();
