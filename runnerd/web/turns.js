// What was said, in a chat or in a session: a prompt and its response.
import {h} from "./ui.js";
import {rich} from "./markdown.js";

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
