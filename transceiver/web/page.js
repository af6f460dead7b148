// The page's elements, and how something is put into them.

export const $ = id => document.getElementById(id);

export const ms = value => value === null || value === undefined ? '–'
  : value < 10 ? `${value.toFixed(1)} ms` : value < 10000 ? `${Math.round(value)} ms` : `${(value / 1000).toFixed(1)} s`;

export const put = (id, text) => { const e = $(id); if (e.textContent !== text) e.textContent = text; };
export const unit = (id, value, suffix) => {
  if (value === null || value === undefined) return put(id, '–');
  $(id).replaceChildren(value, Object.assign(document.createElement('small'), { textContent: ` ${suffix}` }));
};

export function say(text, bad = false) {
  put('status', text);
  $('status').classList.toggle('bad', bad);
}

export function note(text, bad = false) {
  const time = document.createElement('time'), what = document.createElement('span');
  time.textContent = new Date().toTimeString().slice(0, 8);
  what.textContent = text;
  what.classList.toggle('bad', bad);
  const item = document.createElement('li');
  item.append(time, what);
  $('log').prepend(item);
  while ($('log').children.length > 100) $('log').lastChild.remove();
}
