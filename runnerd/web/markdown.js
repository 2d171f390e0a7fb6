// A small part of Markdown, as elements.  What a model writes becomes text nodes in a handful of
// element types; links and pictures stay text, so that nothing is fetched or opened by a response.
import {h} from "./dom.js";

// None of these looks at a character more than a few times, whatever a model writes.
const FENCE = /^ {0,3}(`{3,}|~{3,}(?!~))([^`]*)$/;
const ITEM = /^( {0,6})(?:[-*+]|(\d{1,9})[.)])\s+(.*)$/;
const LONGEST = 100000; // characters; beyond that it is shown as it is

export function rich(text) {
	if (text.length > LONGEST) return [h("p.text", text)];
	return blocks(text.replace(/\r\n?/g, "\n").split("\n"), 0);
}

function blocks(lines, depth) {
	const found = [];
	let at = 0;
	while (at < lines.length) {
		const line = lines[at];
		if (!line.trim()) {
			at += 1;
			continue;
		}
		const read =
			fence(lines, at) ||
			heading(lines, at) ||
			quote(lines, at, depth) ||
			list(lines, at, depth) ||
			table(lines, at) ||
			paragraph(lines, at);
		found.push(read.element);
		at = read.next;
	}
	return found;
}

function fence(lines, at) {
	const open = FENCE.exec(lines[at]);
	if (!open) return null;
	let next = at + 1;
	while (next < lines.length && !(lines[next].trim().startsWith(open[1]) && !lines[next].trim().slice(open[1].length).trim())) next += 1;
	const code = lines.slice(at + 1, next).join("\n"),
		[language] = /^[\w+#.-]*/.exec(open[2].trim());
	return {element: h("pre", {tabindex: "0", label: language ? `Code, ${language}` : "Code"}, h("code", code)), next: next + 1};
}

function heading(lines, at) {
	const found = /^ {0,3}#{1,6}\s+(\S.*)$/.exec(lines[at]);
	if (!found) return null;
	let end = found[1].length;
	while (found[1][end - 1] === "#") end -= 1;
	return {element: h("h3", inline(found[1].slice(0, end).trim())), next: at + 1};
}

function quote(lines, at, depth) {
	if (depth > 3 || !/^ {0,3}>/.test(lines[at])) return null;
	let next = at;
	while (next < lines.length && /^ {0,3}>/.test(lines[next])) next += 1;
	return {
		element: h(
			"blockquote",
			blocks(
				lines.slice(at, next).map(line => line.replace(/^ {0,3}> ?/, "")),
				depth + 1
			)
		),
		next
	};
}

function list(lines, at, depth) {
	const first = ITEM.exec(lines[at]);
	if (!first || depth > 3) return null;
	const items = [];
	let next = at;
	while (next < lines.length) {
		const item = ITEM.exec(lines[next]);
		if (item && item[1].length <= first[1].length && (item[2] === undefined) === (first[2] === undefined)) items.push([item[3]]);
		else if (items.length && /^\s{2,}\S/.test(lines[next]))
			items.at(-1).push(lines[next].replace(new RegExp(`^\\s{1,${first[1].length + 3}}`), ""));
		else break;
		next += 1;
	}
	const simple = item => (item.length === 1 ? inline(item[0]) : blocks(item, depth + 1));
	const start = first[2] === undefined || Number(first[2]) === 1 ? undefined : Number(first[2]);
	return {
		element: h(
			first[2] === undefined ? "ul" : "ol",
			{start},
			items.map(item => h("li", simple(item)))
		),
		next
	};
}

const cells = line =>
	line
		.trim()
		.replace(/^\||\|$/g, "")
		.split("|")
		.map(cell => cell.trim());

function table(lines, at) {
	if (!lines[at].includes("|") || !/^[\s|:-]+$/.test(lines[at + 1] || "") || !(lines[at + 1] || "").includes("-")) return null;
	let next = at + 2;
	while (next < lines.length && lines[next].includes("|")) next += 1;
	const row = kind => line =>
		h(
			"tr",
			cells(line).map(cell => h(kind, inline(cell)))
		);
	return {element: h("table", h("thead", row("th")(lines[at])), h("tbody", lines.slice(at + 2, next).map(row("td")))), next};
}

function paragraph(lines, at) {
	let next = at + 1;
	while (
		next < lines.length &&
		lines[next].trim() &&
		!FENCE.test(lines[next]) &&
		!/^ {0,3}(#{1,6}\s|>)/.test(lines[next]) &&
		!ITEM.test(lines[next])
	)
		next += 1;
	return {element: h("p.text", inline(lines.slice(at, next).join("\n"))), next};
}

const MARK = /(`+)|\*\*(\S(?:[^*]*\S)?)\*\*|(?<![\w*])\*(\S(?:[^*]*[^*\s])?)\*(?![\w*])/g;

function inline(text) {
	const found = [],
		ends = closing(text),
		marks = new RegExp(MARK);
	let from = 0;
	for (let match = marks.exec(text); match; match = marks.exec(text)) {
		const [all, ticks, strong, weak] = match,
			end = ends.get(match.index);
		if (ticks && end === undefined) continue;
		found.push(text.slice(from, match.index));
		from = match.index + all.length;
		if (ticks) {
			const code = text.slice(from, end);
			found.push(h("code", code.trim() || code));
			from = marks.lastIndex = end + all.length;
		} else found.push(strong ? h("strong", inline(strong)) : h("em", inline(weak)));
	}
	return [...found, text.slice(from)].filter(part => part !== "");
}

// Where the code ends that begins with a run of backticks: at the next run that is as long.
function closing(text) {
	const ends = new Map(),
		next = new Map();
	for (const {0: run, index} of [...text.matchAll(/`+/g)].reverse()) {
		if (next.has(run.length)) ends.set(index, next.get(run.length));
		next.set(run.length, index);
	}
	return ends;
}

// What was said, in a chat or in a session: a prompt and its response.

export const prompted = (who, text, ...more) => h("div.turn.user", h("span.who", who), h("div.text", text), more);

// `writes`: more of it is to come.  `more` stands behind the text.
export const responded = (who, {text, thought, writes}, ...more) =>
	h(
		"div.turn",
		{"aria-busy": writes && "true"},
		h("span.who", who),
		thought && h("details", {open: writes && !text}, h("summary", "Reasoning"), h("div.text", thought)),
		text && h("div.rich", rich(text)),
		more,
		writes && !text && !thought && !more.flat().some(Boolean) && h("span.muted", "Waiting for the first token…")
	);
