// Who has keys, what they may, and how much they have used.
import {get, path, post, remove} from "./api.js";
import {h, show} from "./dom.js";
import {clock, date, number, plural} from "./format.js";
import {PERMISSIONS} from "./approvals.js";
import {
	actionsOf,
	button,
	chip,
	confirm,
	copyable,
	dialog,
	doing,
	empty,
	field,
	footer,
	heading,
	input,
	muted,
	section,
	sub,
	table,
	trouble
} from "./widgets.js";

const LIMITS = {
	requests_per_minute: "Requests per minute",
	concurrent_requests: "Requests at one time",
	tokens_per_day: "Tokens per day",
	context: "Tokens of one request",
	priority: "Priority, from -100 to 100"
};

export function users(place) {
	let found = null,
		usage = [],
		audit = [],
		error = null;

	async function look() {
		try {
			found = await get("runnerd/users");
			error = null;
			[usage, audit] = await Promise.all([get("runnerd/usage?by=user&days=30"), get("runnerd/audit?limit=30")]);
		} catch (failure) {
			error = failure;
		}
		draw();
	}

	function draw() {
		show(
			place,
			heading(
				"Users",
				button("Add a user", () => edit(null, look), {kind: "primary"})
			),
			error && trouble(error),
			section(
				"Users and keys",
				!found
					? !error && muted("Loading…")
					: found.length
						? found.map(card)
						: empty(
								"Nobody has a key",
								"Users of this host may use models without one. Others need a key, which you give them here."
							)
			),
			usage.length ? section("Used in the last 30 days", usageTable(usage)) : null,
			audit.length ? section("Who has changed what", auditTable(audit)) : null
		);
	}

	const card = user =>
		h(
			"article",
			{class: "panel section form", key: user.id, "aria-label": user.name},
			h(
				"div",
				{class: "view-head", style: {"margin-bottom": "0"}},
				h(
					"h3",
					{class: "name"},
					user.name,
					" ",
					user.disabled ? chip("disabled", "bad") : !user.active ? chip("expired", "bad") : null
				),
				h(
					"div",
					{class: "actions"},
					button("Edit", () => edit(user, look), {kind: "small", name: `Edit ${user.name}`}),
					button("New key", () => newKey(user, look), {kind: "small", name: `New key for ${user.name}`}),
					button(
						user.disabled ? "Enable" : "Disable",
						event =>
							doing(
								event,
								async () => {
									await post(`runnerd/users/${path(user.id)}`, {disabled: !user.disabled});
									await look();
								},
								`${user.name} is ${user.disabled ? "enabled" : "disabled"}`
							),
						{kind: "small", name: `${user.disabled ? "Enable" : "Disable"} ${user.name}`}
					),
					button("Remove", () => removeUser(user), {kind: "small danger", name: `Remove ${user.name}`})
				)
			),
			h(
				"p",
				{class: "sub"},
				[
					`May ${user.may.map(name => PERMISSIONS[name] || name).join(", ") || "nothing"}.`,
					user.models.length ? ` Only models like ${user.models.join(", ")}.` : " All models.",
					limitsOf(user),
					user.expires ? ` Until ${date(user.expires)}.` : ""
				].join("")
			),
			user.keys.length
				? table(
						`Keys of ${user.name}`,
						[
							{title: "Key", wide: true, cell: key => [h("code", {}, key.id), key.label && sub(key.label)]},
							{title: "Made", cell: key => date(key.created)},
							{title: "Ends", cell: key => (key.expires ? date(key.expires) : "never")},
							{title: "State", cell: key => (key.active ? chip("counts", "good") : chip("does not count", "bad"))},
							actionsOf(key => [
								button("Replace", event => replace(event, user, key), {kind: "small", name: `Replace key ${key.id}`}),
								button("Revoke", event => revoke(event, user, key), {
									kind: "small danger",
									name: `Revoke key ${key.id}`
								})
							])
						],
						user.keys,
						key => key.id
					)
				: muted("No key.")
		);

	async function removeUser(user) {
		if (
			!(await confirm(
				`Remove ${user.name}?`,
				`${plural(user.keys.length, "key")} will not count any more, at once.`,
				"Remove"
			))
		)
			return;
		await doing(
			null,
			async () => {
				await remove(`runnerd/users/${path(user.id)}`);
				await look();
			},
			`${user.name} is removed`
		);
	}

	async function revoke(event, user, key) {
		if (
			!(await confirm(`Revoke key ${key.id}?`, `Programs of ${user.name} that use it are refused, at once.`, "Revoke"))
		)
			return;
		await doing(
			null,
			async () => {
				await remove(`runnerd/keys/${path(key.id)}`);
				await look();
			},
			"The key is revoked"
		);
	}

	async function replace(event, user, key) {
		const made = await doing(event, () => post(`runnerd/keys/${path(key.id)}/rotate`));
		if (made) {
			look();
			await showKey(user.name, made.key);
		}
	}

	draw();
	look();
	return () => {};
}

function limitsOf(user) {
	const said = Object.entries(user.limits).filter(([, value]) => value !== null && value !== 0);
	return said.length
		? ` Limits: ${said.map(([name, value]) => `${LIMITS[name] || name} ${number(value)}`).join(", ")}.`
		: "";
}

const usageTable = rows =>
	table(
		"Usage",
		[
			{title: "Who", wide: true, cell: each => h("span", {class: "name"}, each.user)},
			{title: "Requests", number: true, cell: each => number(each.requests)},
			{title: "Failed", number: true, cell: each => number(each.failures)},
			{title: "Prompt tokens", number: true, cell: each => number(each.prompt_tokens)},
			{title: "Response tokens", number: true, cell: each => number(each.completion_tokens)}
		],
		rows,
		each => each.id
	);

const auditTable = rows =>
	table(
		"Audit",
		[
			{title: "When", cell: each => clock(each.time)},
			{title: "Who", wide: true, cell: each => each.who},
			{title: "What", wide: true, cell: each => [each.action.replaceAll("_", " "), sub(each.subject)]},
			{title: "Status", cell: each => (each.status >= 400 ? chip(String(each.status), "bad") : "done")}
		],
		rows,
		each => each.id
	);

function showKey(name, secret) {
	return dialog(`The key of ${name}`, close => [
		h("p", {class: "dialog-text"}, "It is shown this one time; the daemon keeps only a digest of it."),
		copyable(secret, "Key"),
		h(
			"div",
			{class: "actions end"},
			button("I have it", () => close(), {kind: "primary"})
		)
	]);
}

async function newKey(user, done) {
	const label = input({maxlength: 200}),
		expires = input({placeholder: "never, or 30d"});
	const made = await dialog(`A new key for ${user.name}`, close => [
		field("What it is for", label),
		field("Ends after", expires, "Such as 30d, 2w or 12h."),
		footer(close, "Make it", async () =>
			close(
				await post(`runnerd/users/${path(user.id)}/keys`, {
					label: label.value.trim(),
					...(expires.value.trim() ? {expires: expires.value.trim()} : {})
				})
			)
		)
	]);
	if (made) {
		done();
		await showKey(user.name, made.key);
	}
}

async function edit(user, done) {
	const name = input({value: user?.name || "", required: true, maxlength: 64});
	const may = h(
		"div",
		{class: "form-grid"},
		Object.entries(PERMISSIONS).map(([each, meaning]) =>
			h(
				"label",
				{class: "check"},
				h("input", {
					type: "checkbox",
					name: each,
					checked: user ? user.may.includes(each) : ["session", "view_llms"].includes(each)
				}),
				meaning
			)
		)
	);
	const models = h("textarea", {
		rows: 2,
		class: "mono",
		placeholder: "all; or patterns such as ai/*, one on each line",
		value: user?.models.join("\n") || ""
	});
	const limits = Object.entries(LIMITS).map(([each, label]) => [
		each,
		input({type: "number", step: 1, placeholder: each === "priority" ? "0" : "none", value: user?.limits[each] ?? ""}),
		label
	]);
	const expires = input({
		placeholder: user?.expires ? `${date(user.expires)}; type never or 30d to change it` : "never, or 30d"
	});
	const label = input({maxlength: 200});
	const made = await dialog(user ? `Edit ${user.name}` : "Add a user", close => [
		field("Name", name),
		h("fieldset", {}, h("legend", {}, "May"), may),
		field("Models", models),
		h(
			"fieldset",
			{},
			h("legend", {}, "Limits"),
			h(
				"div",
				{class: "form-grid"},
				limits.map(([, control, text]) => field(text, control))
			)
		),
		field("Ends after", expires),
		!user && field("What the key is for", label),
		footer(close, user ? "Save" : "Add", async () => {
			const said = {
				name: name.value.trim(),
				may: [...may.querySelectorAll("input:checked")].map(each => each.name),
				models: models.value
					.split("\n")
					.map(line => line.trim())
					.filter(Boolean)
			};
			said.limits = Object.fromEntries(
				limits.map(([each, control]) => [
					each,
					control.value === "" ? (each === "priority" ? 0 : null) : Number(control.value)
				])
			);
			if (expires.value.trim()) said.expires = expires.value.trim() === "never" ? null : expires.value.trim();
			if (!user && label.value.trim()) said.label = label.value.trim();
			close(await post(user ? `runnerd/users/${path(user.id)}` : "runnerd/users", said));
		})
	]);
	if (!made) return;
	done();
	if (made.key) await showKey(made.name, made.key);
}
