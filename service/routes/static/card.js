// What is told of a result: its facts, times, a download, and the curl command that makes it.

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** The command line of a request; audio is analysed first. */
export function curl({ file, isMel, preset, query, withKey }) {
  const key = withKey ? ` -H 'Authorization: Bearer YOUR_KEY'` : "";
  const mel = isMel ? quoted(file) : "mel.npy";
  const analyse = `curl${key} -F ${quoted(`audio=@${file}`)} -F config=${preset} ${location.origin}/analyze -o mel.npy\n`;
  return `${isMel ? "" : analyse}curl${key} -H 'Content-Type: application/x-npy' --data-binary @${mel} '${location.origin}/reconstruct?${query}' -o out.wav`;
}

function times(table, header) {
  for (const part of (header ?? "").split(", ")) {
    const [name, ms] = part.split(";dur=");
    const row = table.insertRow();
    const head = document.createElement("th");
    head.scope = "row";
    head.textContent = name;
    row.append(head);
    row.insertCell().textContent = `${Number(ms).toFixed(1)} ms`;
  }
}

function details({ headers }) {
  const told = [`${Number(headers.get("X-Audio-Seconds")).toFixed(2)} s at ${headers.get("X-Sample-Rate")} Hz`];
  if (headers.get("X-Gain")) told.push(`scaled by ${headers.get("X-Gain")}`);
  if (headers.get("X-Warning")) told.push(headers.get("X-Warning"));
  return told.join("; ");
}

/** Copy a text, which an element shows. */
async function copy(text, shown) {
  // On pages loaded over plain HTTP there is no clipboard, and what is selected is copied.
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  getSelection().selectAllChildren(shown);
  return document.execCommand("copy");
}

/** The card of a result; its download is a URL that the card's owner revokes. */
export function cardOf(result) {
  const part = document.getElementById("answer").content.cloneNode(true);
  const card = part.querySelector("article");
  card.dataset.number = result.number;
  card.querySelector("h3").textContent = `${result.title}: ${result.options}`;
  card.querySelector(".details").textContent = details(result);
  times(card.querySelector("tbody"), result.headers.get("Server-Timing"));
  const code = card.querySelector("code");
  code.textContent = result.curl;
  const link = card.querySelector("a");
  link.href = URL.createObjectURL(result.blob);
  link.download = `${result.file.replace(/\.\w+$/, "")}-${result.number}.wav`;
  card.querySelector(".copy").addEventListener("click", async (event) => {
    await copy(result.curl, code);
    event.target.textContent = "Copied";
  });
  return card;
}
