// Views that show what they read of the daemon: lists, and one thing of a list.
import {source} from "./api.js";
import {h, show} from "./dom.js";
import {watch} from "./live.js";
import {heading, missing, trouble} from "./widgets.js";

const EVERY = 2000; // milliseconds between looks while something `moves`

// `read()` when the view is opened and when one of the kinds `after` has changed, and again and again
// while `moves(found)`; what it gives is shown by `content(found, error)`.  What there was stays when
// reading fails.
export function reading(place, {read, content, after = [], moves = () => false}) {
	let ended = false;
	const draw = () => ended || show(place, content(now.found, now.error));
	const now = source(read, draw);
	const timer = setInterval(() => {
		if (!document.hidden && moves(now.found)) now.look();
	}, EVERY);
	const end = watch(kinds => (after.some(kind => kinds.has(kind)) ? now.look() : draw()));
	draw();
	now.look();
	return {
		get found() {
			return now.found;
		},
		look: now.look,
		draw,
		// Go to another place, unless somebody has gone to one meanwhile.
		leave: where => ended || (location.hash = where),
		end: () => {
			ended = true;
			clearInterval(timer);
			end();
		}
	};
}

// A list: its title, `actions(found)` beside it, `content(found)` as soon as it was read.
export const listing = (place, {title, actions = () => [], content, ...rest}) =>
	reading(place, {
		...rest,
		content: (found, error) => [
			heading(title, ...actions(found)),
			error && found && trouble(error),
			found ? content(found) : missing(error)
		]
	});

// One thing: a way back to the list `all`, at the place `back`; `head(found)`: its name, and what can be done.
export const single = (place, {kind, all, back, head, content, ...rest}) =>
	reading(place, {
		...rest,
		content: (found, error) =>
			found
				? [h("p", h("a", {link: back}, all)), heading(...head(found)), error && trouble(error), content(found)]
				: [heading(error ? `No such ${kind.toLowerCase()}` : kind), missing(error), h("a", {link: back}, `All ${all.toLowerCase()}`)]
	});
