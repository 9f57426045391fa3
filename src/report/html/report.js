"use strict";
// Shows the counts for the day under the mouse pointer, or under a cursor that you move with the arrow keys.
const DAY = 86400000;
const HINT = "Point at a day, or focus the calendar and use the arrow keys.";
const count = number => Number(number).toLocaleString("en");

function size(bytes) {
    const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let unit = 0;
    for (; bytes >= 1024 && unit < 5; unit++) bytes /= 1024;
    return (unit ? bytes.toFixed(2) : bytes) + " " + units[unit];
}

for (const calendar of document.querySelectorAll(".calendar")) {
    const first = Date.parse(calendar.dataset.first);
    const days = calendar.dataset.days.split(";");
    const years = calendar.querySelector(".years");
    const readout = calendar.querySelector(".readout");
    const cursor = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    let at = days.length - 1;

    // Position of a day: weeks are columns, and Monday is the first row.
    const mondays = year => (new Date(Date.UTC(year, 0, 1)).getUTCDay() + 6) % 7;
    const place = date => {
        const year = date.getUTCFullYear();
        return (date - Date.UTC(year, 0, 1)) / DAY + mondays(year);
    };
    const show = day => {
        at = Math.max(0, Math.min(days.length - 1, day));
        const date = new Date(first + at * DAY);
        const name = date.toLocaleDateString("en", { weekday: "short", timeZone: "UTC" }) + " " +
            date.toISOString().slice(0, 10);
        const [objects, rows, bytes, windows, possible, rejects] = days[at].split(",");
        const text = days[at] === "" ? name + ": missing, no objects" :
            `${name}: ${count(objects)} objects, ${count(rows)} rows, ${count(rejects || 0)} rejects, ` +
            `${size(bytes)}, ${windows} of ${possible} windows`;
        readout.textContent = text;
        readout.classList.remove("hint");
        const number = place(date);
        const set = (element, values) =>
            Object.entries(values).forEach(([key, value]) => element.setAttribute(key, value));
        set(cursor, { class: "cursor", x: Math.floor(number / 7), y: number % 7, width: 1, height: 1 });
        years.querySelector(`[data-year="${date.getUTCFullYear()}"] g`).append(cursor);
        set(years, { "aria-valuenow": at + 1, "aria-valuetext": text });
    };
    const hide = () => {
        cursor.remove();
        readout.textContent = HINT;
        readout.classList.add("hint");
    };

    years.tabIndex = 0;
    years.setAttribute("role", "slider");
    years.setAttribute("aria-label", years.dataset.label);
    years.setAttribute("aria-orientation", "vertical");
    years.setAttribute("aria-valuemin", 1);
    years.setAttribute("aria-valuemax", days.length);
    show(at);
    hide();
    years.addEventListener("focus", () => show(at));
    years.addEventListener("blur", hide);
    years.addEventListener("keydown", event => {
        const to = {
            ArrowUp: at - 1, ArrowDown: at + 1, ArrowLeft: at - 7, ArrowRight: at + 7,
            PageUp: at - 28, PageDown: at + 28, Home: 0, End: days.length - 1,
        }[event.key];
        if (to === undefined || event.ctrlKey || event.altKey || event.metaKey) return;
        event.preventDefault();
        show(to);
    });
    const point = event => {
        const svg = event.target.closest("svg");
        if (!svg) return;
        const box = svg.getBoundingClientRect();
        const week = Math.floor(((event.clientX - box.left) * 578 / box.width - 36) / 10);
        const weekday = Math.floor(((event.clientY - box.top) * 86 / box.height - 14) / 10);
        const year = Number(svg.dataset.year);
        const date = Date.UTC(year, 0, 1) + (week * 7 + weekday - mondays(year)) * DAY;
        const day = (date - first) / DAY;
        const inside = week >= 0 && weekday >= 0 && weekday < 7 && days[day] !== undefined &&
            new Date(date).getUTCFullYear() === year;
        if (inside) show(day);
    };
    years.addEventListener("pointermove", point);
    years.addEventListener("pointerdown", point);
    years.addEventListener("pointerleave", () => document.activeElement === years || hide());
}
