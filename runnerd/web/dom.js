// Elements and how they are brought up to date.  Texts become text nodes and nothing else: there is
// no way through here for what a model, a file or a user says to become an element or a script.

const SVG = "http://www.w3.org/2000/svg";
const ATTRIBUTE = /^(?:aria-[a-z]+|data-[a-z-]+|[a-z]+)$/;
const REFUSED = new Set(["style", "srcdoc", "src", "href", "action", "formaction"]);

// An element; its classes stand behind dots: "div.panel".  What may come first: attributes by name; `on`: {event:
// function}; `key`: what it is, for `patch`; `style`: {property: value}; `own`: its children are its
// own affair; `link`: a place in this page, whole or as a list of its parts; `label`: what it is called
// where that is not written on it.
export function h(tag, ...children) {
	const props = children[0]?.constructor === Object ? children.shift() : {};
	const [name, ...classes] = tag.split(".");
	const element = document.createElement(name);
	if (classes.length) element.className = classes.join(" ");
	element.handlers = {};
	for (const [name, value] of Object.entries(props)) set(element, name, value);
	append(element, children);
	return element;
}

function set(element, name, value) {
	if ((value ?? false) === false) return;
	if (name === "label") name = "aria-label";
	if (name === "on") for (const [event, run] of Object.entries(value)) listen(element, event, run);
	else if (name === "key") element.key = String(value);
	else if (name === "own") element.own = true;
	else if (name === "style") for (const [property, said] of Object.entries(value)) element.style.setProperty(property, said);
	else if (name === "link") element.setAttribute("href", `#/${Array.isArray(value) ? value.map(encodeURIComponent).join("/") : value}`);
	else if (name === "value" || name === "checked") {
		element[name] = value;
		element.given = {...element.given, [name]: value};
	} else if (ATTRIBUTE.test(name) && !name.startsWith("on") && !REFUSED.has(name))
		element.setAttribute(name, value === true ? "" : String(value));
	else throw new TypeError(`no attribute ${name}`);
}

function listen(element, event, run) {
	if (!(event in element.handlers)) element.addEventListener(event, what => element.handlers[event]?.(what));
	element.handlers[event] = run;
}

function append(element, children) {
	for (const child of children.flat(Infinity)) {
		if ((child ?? false) === false) continue;
		if (!(child instanceof Node)) element.append(document.createTextNode(String(child)));
		else if (!child.isConnected) element.append(child);
		else {
			// it is shown now, and would lose its focus if it was taken out: something stands for it
			const placeholder = document.createComment("");
			placeholder.standsFor = child;
			element.append(placeholder);
		}
	}
}

// A drawing of lines in a square of 16, for decoration only.
export function icon(path) {
	const drawing = document.createElementNS(SVG, "svg");
	drawing.setAttribute("viewBox", "0 0 16 16");
	drawing.setAttribute("class", "icon");
	drawing.setAttribute("aria-hidden", "true");
	const line = document.createElementNS(SVG, "path");
	line.setAttribute("d", path);
	drawing.append(line);
	return drawing;
}

// Let `container` have these children; what is alike stays, with its focus, selection and scrolling.
export function show(container, ...children) {
	const wanted = document.createElement("div");
	append(wanted, children);
	patchChildren(container, wanted);
}

// Draws that what comes quickly asks for: some together, and the fewer the longer one takes.
export function paced(draw) {
	let due = 0,
		took = 0;
	function now() {
		clearTimeout(due);
		due = 0;
		const began = performance.now();
		draw();
		took = performance.now() - began;
	}
	return {now, soon: () => (due ||= setTimeout(now, Math.max(60, 4 * took)))};
}

function patchChildren(old, wanted) {
	const keyed = new Map(),
		staying = new Set();
	for (const child of old.childNodes) if (child.key !== undefined) keyed.set(child.key, child);
	for (const child of wanted.childNodes) if (child.standsFor) staying.add(child.standsFor);
	let next = old.firstChild;
	for (const child of [...wanted.childNodes]) {
		let found = child.standsFor || (child.key !== undefined ? keyed.get(child.key) : alike(next, child, staying));
		if (found && !child.standsFor && found.nodeName !== child.nodeName) found = null;
		if (!found) {
			settle(child);
			old.insertBefore(child, next);
			continue;
		}
		keyed.delete(found.key);
		if (found === next) next = next.nextSibling;
		else old.insertBefore(found, next);
		if (!child.standsFor) patch(found, child);
	}
	while (next) {
		const gone = next;
		next = next.nextSibling;
		gone.remove();
	}
}

function alike(from, child, staying) {
	for (let each = from; each; each = each.nextSibling)
		if (each.key === undefined && each.nodeName === child.nodeName && !staying.has(each)) return each;
	return null;
}

// Put what is stood for into something new.
function settle(node) {
	if (node.nodeType !== Node.ELEMENT_NODE) return;
	for (const child of [...node.childNodes])
		if (child.standsFor) child.replaceWith(child.standsFor);
		else settle(child);
}

function patch(old, wanted) {
	if (old.nodeType === Node.TEXT_NODE) {
		if (old.data !== wanted.data) old.data = wanted.data;
		return;
	}
	if (old.namespaceURI === SVG) {
		if (!old.isEqualNode(wanted)) old.replaceWith(wanted);
		return;
	}
	// What is unfolded stays so, and what is being done stays disabled.
	const stays = name => (name === "open" && old.nodeName === "DETAILS") || (old.busy && /^(disabled|aria-busy)$/.test(name));
	for (const {name} of [...old.attributes]) if (!wanted.hasAttribute(name) && !stays(name)) old.removeAttribute(name);
	for (const {name, value} of [...wanted.attributes])
		if (old.getAttribute(name) !== value && name !== "style" && !stays(name)) old.setAttribute(name, value);
	if (old.style.cssText !== wanted.style.cssText) old.style.cssText = wanted.style.cssText;
	for (const name of Object.keys(old.handlers || {})) if (!(name in wanted.handlers)) delete old.handlers[name];
	for (const [name, run] of Object.entries(wanted.handlers || {})) listen(old, name, run);
	if (!old.own) patchChildren(old, wanted);
	// What somebody has typed stays, unless something else than before is given.
	for (const [name, value] of Object.entries(wanted.given || {})) if (old.given?.[name] !== value) old[name] = value;
	old.given = wanted.given;
}
