// Who has keys, what they may, and how much they have used.
import {
	act,
	actionsOf,
	area,
	button,
	changed,
	chip,
	choice,
	clock,
	column,
	copyable,
	date,
	download,
	empty,
	field,
	fileOf,
	fill,
	get,
	grid,
	h,
	input,
	linesOf,
	live,
	listing,
	muted,
	note,
	number,
	path,
	plural,
	post,
	query,
	remove,
	rows,
	section,
	small,
	sub,
	table,
	upload,
	words,
	wide
} from "./ui.js";
import {chosen, meaning, permissionChoice} from "./approvals.js";

export function users(place) {
	let by = "user";
	const sums = choice(
		["user", "model", "day"].map(each => [each, `By ${each}`]),
		by,
		value => {
			by = value;
			view.look();
		},
		{label: "Sums of usage"}
	);
	const view = listing(place, {
		title: "Users",
		read: () => Promise.all([get("runnerd/users"), get(query("runnerd/usage", {by, days: 30})), get("runnerd/audit?limit=30")]),
		actions: () => [
			act("Back up", "users, keys, usage and audit", () => download("runnerd-backup.db", "runnerd/backup", "POST"), undefined, {kind: ""}),
			button("Restore", () => restore(view.look)),
			button("Add a user", () => edit(null, view.look), "primary")
		],
		content: ([found, usage, audit]) => [
			section(
				"Users and keys",
				found.length
					? found.map(user => card(user, view.look))
					: empty("Nobody has a key", "Users of this host may use models without one. Others need a key, which you give them here.")
			),
			(usage.length > 0 || by !== "user") && section("Used in the last 30 days", h("div.toolbar", sums), usageTable(usage)),
			audit.length > 0 && section("Who has changed what", auditTable(audit))
		]
	});
	return view.end;
}

// Its first column is what it was summed by, which is no longer what is chosen while a response is on its way.
function usageTable(usage) {
	const by = ["user", "model", "day"].find(each => each in (usage[0] || {}));
	return by && rows("Usage", usage, [by, "requests", "failures", "prompt_tokens", "completion_tokens"], each => each.id || each[by]);
}

function card(user, look) {
	const where = `runnerd/users/${path(user.id)}`,
		able = user.disabled ? "Enable" : "Disable";
	return h(
		"article.panel.section.form",
		{key: user.id, label: user.name},
		h(
			"div.view-head",
			h("h3.name", user.name, " ", user.disabled ? chip("disabled", "bad") : !user.active && chip("expired", "bad")),
			h(
				"div.actions",
				small("Edit", user.name, () => edit(user, look)),
				small("New key", `for ${user.name}`, () => newKey(user, look)),
				act(able, user.name, () => post(where, {disabled: !user.disabled}).then(look), `${user.name} is ${able.toLowerCase()}d`),
				act("Remove", user.name, () => remove(where).then(look), `${user.name} is removed`, {
					kind: "small danger",
					sure: `${plural(user.keys.length, "key")} will not count any more, at once.`
				})
			)
		),
		h("p.sub", rightsOf(user)),
		user.keys.length ? keyTable(user, look) : muted("No key.")
	);
}

const keyTable = (user, look) =>
	table(
		`Keys of ${user.name}`,
		[
			wide("Key", key => [h("code", key.id), key.label && sub(key.label)]),
			column("Made", key => date(key.created)),
			column("Ends", key => (key.expires ? date(key.expires) : "never")),
			column("State", key => (key.active ? chip("active", "good") : chip("not active", "bad"))),
			actionsOf(key => [
				act("Replace", `key ${key.id}`, async () => {
					const made = await post(`runnerd/keys/${path(key.id)}/rotate`);
					look();
					showKey(user.name, made.key);
				}),
				act("Revoke", `key ${key.id}`, () => remove(`runnerd/keys/${path(key.id)}`).then(look), "The key is revoked", {
					kind: "small danger",
					sure: `Programs of ${user.name} that use it are refused, at once.`
				})
			])
		],
		user.keys,
		key => key.id
	);

function rightsOf(user) {
	const limits = Object.entries(user.limits)
		.filter(([, value]) => value !== null && value !== 0)
		.map(([name, value]) => `${words(name)} ${number(value)}`);
	return [
		`May ${user.may.map(meaning).join(", ") || "nothing"}.`,
		user.models.length ? `Only models like ${user.models.join(", ")}.` : "All models.",
		limits.length && `Limits: ${limits.join(", ")}.`,
		user.expires && `Until ${date(user.expires)}.`
	]
		.filter(Boolean)
		.join(" ");
}

/** What was changed; several actions remove things without saying so in their names. */
function doneBy({action, route}) {
	const words = action.replaceAll("_", " ");
	return route.startsWith("DELETE ") && !words.startsWith("delete") ? `${words}: removed` : words;
}

const auditTable = found =>
	table(
		"Audit",
		[
			column("When", "time", clock),
			wide("Who", "who"),
			wide("What", each => [doneBy(each), sub(each.subject)]),
			column("Status", each => (each.status >= 400 ? chip(String(each.status), "bad") : "done"))
		],
		found
	);

const showKey = (name, secret) =>
	note(
		`The key of ${name}`,
		"I have it",
		h("p.dialog-text", "It is shown this one time; the daemon keeps only a digest of it."),
		copyable(secret, "Key")
	);

function restore(look) {
	const file = upload();
	const fields = [
		h("p.dialog-text", "The file takes the place of all users, keys, usage, sessions and jobs."),
		field("A file of a backup", file)
	];
	const send = () => post("runnerd/restore", fileOf(file));
	fill("Restore a backup", fields, "Restore", send, {done: ({users}) => `Restored, with ${plural(users, "user")}`, look});
}

async function newKey(user, look) {
	const label = input({maxlength: 200}),
		expires = input({placeholder: "never, or 30d"});
	const send = () => post(`runnerd/users/${path(user.id)}/keys`, {label: label.value.trim(), expires: expires.value.trim() || undefined});
	const fields = [field("What it is for", label), field("Ends after", expires, "Such as 30d, 2w or 12h.")];
	const made = await fill(`A new key for ${user.name}`, fields, "Make it", send, {look});
	if (made) await showKey(user.name, made.key);
}

async function edit(user, look) {
	const name = input({value: user?.name || "", required: true, maxlength: 64}),
		may = permissionChoice("div.form-grid", user ? user.may : ["session", "view_llms"]),
		models = area({placeholder: "all; or patterns such as ai/*, one on each line", value: user?.models.join("\n") || ""}),
		expires = input({placeholder: user?.expires ? `${date(user.expires)}; type never or 30d to change it` : "never, or 30d"}),
		label = input({maxlength: 200});
	const limits = Object.keys(live.me.limits).map(each => [
		each,
		input({type: "number", step: 1, placeholder: each === "priority" ? "0" : "none", value: user?.limits[each] ?? ""})
	]);
	const limit = ([each, {value}]) => [each, value !== "" ? Number(value) : each === "priority" ? 0 : null];
	const said = () => {
		const until = expires.value.trim();
		return {
			name: name.value.trim(),
			may: chosen(may),
			models: linesOf(models.value),
			limits: Object.fromEntries(limits.map(limit)),
			expires: until === "never" ? null : until || undefined,
			label: (!user && label.value.trim()) || undefined
		};
	};
	// Of what is there only what was changed here is sent: somebody else may have changed the rest.
	const before = said();
	const send = () => {
		if (!user) return post("runnerd/users", said());
		const changes = changed(before, said());
		return Object.keys(changes).length ? post(`runnerd/users/${path(user.id)}`, changes) : user;
	};
	const fields = [
		field("Name", name),
		h("fieldset", h("legend", "May"), may),
		field("Models", models),
		h("fieldset", h("legend", "Limits"), grid(limits.map(([each, control]) => field(words(each), control)))),
		field("Ends after", expires),
		!user && field("What the key is for", label)
	];
	const made = await fill(user ? `Edit ${user.name}` : "Add a user", fields, user ? "Save" : "Add", send, {look});
	if (made?.key) await showKey(made.name, made.key);
}
