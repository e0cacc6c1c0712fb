// `node scripts/picture.mjs <output of npm run demo> > docs/demo.svg`: a terminal as a
// picture. It shows the demo's own lines, and leaves out those of the set-up.
import { readFileSync } from "node:fs";

const widest = 100;
const fontSize = 14;
const charWidth = fontSize * 0.602;
const lineHeight = 20;
const margin = 18;
const titleBar = 34;

const output = readFileSync(process.argv[2], "utf8");
const start = output.search(/^nats-server /m);
if (start < 0) {
  throw new Error(
    `${process.argv[2]} has no line that begins with "nats-server": is it the output of npm run demo?`,
  );
}
const lines = [
  "$ npm run demo",
  ...output
    .slice(start)
    .trimEnd()
    .split("\n")
    .filter((line) => !line.startsWith("{"))
    .map((line) => (line.length > widest ? `${line.slice(0, widest - 1)}…` : line)),
];

/** A line, or a part of it, in the colour of what it tells. */
function colored(line) {
  const text = escaped(line);
  if (line.startsWith("$ ")) {
    return `<tspan class="prompt">$</tspan> <tspan class="command">${text.slice(2)}</tspan>`;
  }
  if (line.includes("SIGKILL")) {
    return `<tspan class="killed">${text}</tspan>`;
  }
  if (line.includes("no page lost") || line.startsWith("Done")) {
    return `<tspan class="good">${text}</tspan>`;
  }
  return text
    .replace(/█+/, '<tspan class="done">$&</tspan>')
    .replace(/░+/, '<tspan class="left">$&</tspan>');
}

function escaped(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

const width = Math.ceil(widest * charWidth + 2 * margin);
const height = titleBar + lines.length * lineHeight + 2 * margin - 6;
const rows = lines.map((line, index) => {
  const y = titleBar + margin + 8 + index * lineHeight;
  return `  <text x="${margin}" y="${y}" xml:space="preserve">${colored(line)}</text>`;
});

console.log(`<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img" aria-label="The output of npm run demo in a terminal">
  <style>
    text { font: ${fontSize}px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; fill: #d4d4d8; }
    .prompt { fill: #71717a; }
    .command { fill: #fafafa; font-weight: bold; }
    .done { fill: #38bdf8; }
    .left { fill: #3f3f46; }
    .killed { fill: #f87171; }
    .good { fill: #4ade80; }
  </style>
  <rect width="${width}" height="${height}" rx="10" fill="#18181b"/>
  <circle cx="22" cy="18" r="6" fill="#52525b"/>
  <circle cx="42" cy="18" r="6" fill="#52525b"/>
  <circle cx="62" cy="18" r="6" fill="#52525b"/>
${rows.join("\n")}
</svg>`);
