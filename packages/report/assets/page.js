// The script of a job graph page. It stands in the page as it is: no imports, no build, no network.
(() => {
  const data = JSON.parse(document.getElementById('data').textContent);
  const { jobs, edges } = data;
  const box = { width: 168, height: 24, stepX: 232, stepY: 32, margin: 24 };
  // Rows apart enough that the whole is about twice as wide as high: edges are easier to follow then.
  box.stepY = Math.min(84, Math.max(32, (data.columns * box.stepX) / 2 / data.rows));
  const canvas = document.getElementById('canvas');
  const brush = canvas.getContext('2d');
  const detail = document.getElementById('detail');
  const find = document.getElementById('find');
  const fold = document.getElementById('fold');
  const found = document.getElementById('found');
  const rows = [...document.querySelectorAll('#jobs tbody tr')];
  const texts = jobs.map((job) =>
    `${job.name}@${job.version} /${job.hash} ${job.word} ${job.note}`.toLowerCase(),
  );
  const usedBy = jobs.map(() => []);
  for (const [at, job] of jobs.entries()) for (const to of job.needs) usedBy[to].push(at);
  const critical = new Set(data.critical);
  const criticalEdges = new Set(data.critical.slice(1).map((at, i) => `${data.critical[i]}-${at}`));

  const view = { x: 0, y: 0, scale: 1 };
  let chosen = -1;
  let related = null; // what the chosen job reaches both ways
  let matching = null; // what search and filters leave
  let colours = {};

  const left = (at) => jobs[at].x * box.stepX;
  const top = (at) => jobs[at].y * box.stepY;

  function readColours() {
    const style = getComputedStyle(document.documentElement);
    // A canvas does not know light-dark(): let the browser resolve each colour first.
    const probe = document.body.appendChild(document.createElement('span'));
    const names = [
      'card',
      'ink',
      'soft',
      'edge',
      'accent',
      'critical',
      ...new Set(jobs.map((job) => job.state)),
    ];
    colours = Object.fromEntries(
      names.map((name) => {
        probe.style.color = `var(--${name})`;
        return [name, getComputedStyle(probe).color];
      }),
    );
    colours.font = style.fontFamily;
    probe.remove();
  }

  let asked = false;
  function draw() {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      paint();
    });
  }

  function paint() {
    const ratio = window.devicePixelRatio || 1;
    const { clientWidth: width, clientHeight: height } = canvas;
    // Folded: it is drawn when it is opened.
    if (width === 0) return;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    const { scale } = view;
    brush.setTransform(ratio, 0, 0, ratio, 0, 0);
    brush.clearRect(0, 0, width, height);
    brush.setTransform(ratio * scale, 0, 0, ratio * scale, ratio * view.x, ratio * view.y);
    const area = {
      x1: -view.x / scale - box.width,
      y1: -view.y / scale - box.height,
      x2: (width - view.x) / scale,
      y2: (height - view.y) / scale,
    };
    const lit = (at) => (related ?? matching)?.has(at) ?? true;
    const plain = !related && !matching;

    const stroke = (pairs, colour, line, alpha) => {
      brush.beginPath();
      for (const [from, to] of pairs) {
        const x1 = left(from) + box.width;
        const y1 = top(from) + box.height / 2;
        const x2 = left(to);
        const y2 = top(to) + box.height / 2;
        if (x2 < area.x1 || x1 > area.x2 + box.width) continue;
        if (Math.max(y1, y2) < area.y1 || Math.min(y1, y2) > area.y2) continue;
        const bend = Math.max(24, (x2 - x1) / 2);
        brush.moveTo(x1, y1);
        brush.bezierCurveTo(x1 + bend, y1, x2 - bend, y2, x2, y2);
      }
      brush.globalAlpha = alpha;
      brush.strokeStyle = colour;
      brush.lineWidth = line / Math.min(1, Math.max(scale, 0.2));
      brush.stroke();
      brush.globalAlpha = 1;
    };
    const isCritical = ([from, to]) => criticalEdges.has(`${from}-${to}`);
    const dense = edges.length > 600 ? 0.35 : 0.75;
    const quiet = edges.filter((edge) => !isCritical(edge));
    if (plain) stroke(quiet, colours.edge, 1, dense);
    else {
      const on = ([from, to]) => lit(from) && lit(to);
      stroke(
        quiet.filter((edge) => !on(edge)),
        colours.edge,
        1,
        0.08,
      );
      stroke(quiet.filter(on), related ? colours.accent : colours.edge, 1.2, 0.9);
    }
    stroke(edges.filter(isCritical), colours.critical, 2.5, related || matching ? 0.55 : 1);

    const pixels = scale * 13;
    brush.textBaseline = 'middle';
    for (const [at, job] of jobs.entries()) {
      const x = left(at);
      const y = top(at);
      if (x < area.x1 || x > area.x2 || y < area.y1 || y > area.y2) continue;
      brush.globalAlpha = lit(at) ? 1 : 0.16;
      const colour = colours[job.state];
      brush.beginPath();
      brush.roundRect(x, y, box.width, box.height, job.root ? 12 : 4);
      brush.fillStyle = colours.card;
      brush.fill();
      brush.fillStyle = colour;
      brush.globalAlpha *= pixels < 5 ? 0.75 : 0.16;
      brush.fill();
      brush.globalAlpha = lit(at) ? 1 : 0.16;
      brush.strokeStyle = at === chosen ? colours.accent : critical.has(at) ? colours.critical : colour;
      brush.lineWidth = (at === chosen ? 3 : critical.has(at) ? 2.5 : 1) / Math.min(1, Math.max(scale, 0.3));
      brush.setLineDash(job.state === 'skip' || job.state === 'waiting' ? [5, 4] : []);
      brush.stroke();
      brush.setLineDash([]);
      if (pixels >= 5) {
        brush.font = `bold 13px ${colours.font}`;
        brush.fillStyle = colour;
        brush.fillText(job.sign, x + 8, y + box.height / 2 + 1);
        brush.font = `13px ${colours.font}`;
        brush.fillStyle = colours.ink;
        brush.fillText(fitted(job), x + 26, y + box.height / 2 + 1);
      }
    }
    brush.globalAlpha = 1;
  }

  function fitted(job) {
    if (job.label) return job.label;
    const room = box.width - 34;
    let text = `${job.name} ${job.version}`;
    if (brush.measureText(text).width > room) text = job.name;
    while (text.length > 3 && brush.measureText(text).width > room) text = `${text.slice(0, -2)}…`;
    job.label = text;
    return text;
  }

  function show(indices) {
    const all = indices.length > 0 ? indices : jobs.map((_, at) => at);
    const x1 = Math.min(...all.map(left)) - box.margin;
    const x2 = Math.max(...all.map(left)) + box.width + box.margin;
    const y1 = Math.min(...all.map(top)) - box.margin;
    const y2 = Math.max(...all.map(top)) + box.height + box.margin * 2;
    const { clientWidth: width, clientHeight: height } = canvas;
    view.scale = Math.min(1.4, width / (x2 - x1), height / (y2 - y1));
    view.x = (width - (x1 + x2) * view.scale) / 2;
    view.y = (height - (y1 + y2) * view.scale) / 2;
    draw();
  }

  /** All of it, or on a narrow screen as much as can be read. */
  function first() {
    show([]);
    if (canvas.clientWidth > 700 || view.scale > 0.4) return;
    view.scale = 0.4;
    view.x = box.margin;
    view.y = (canvas.clientHeight - data.rows * box.stepY * view.scale) / 2;
  }

  function zoom(factor, x = canvas.clientWidth / 2, y = canvas.clientHeight / 2) {
    const scale = Math.min(3, Math.max(0.02, view.scale * factor));
    view.x = x - ((x - view.x) * scale) / view.scale;
    view.y = y - ((y - view.y) * scale) / view.scale;
    view.scale = scale;
    draw();
  }

  function centre(at) {
    view.scale = Math.max(view.scale, 0.8);
    const covered = canvas.clientWidth > 700 ? 350 : 0;
    view.x = (canvas.clientWidth - covered) / 2 - (left(at) + box.width / 2) * view.scale;
    view.y = canvas.clientHeight / (covered ? 2 : 4) - (top(at) + box.height / 2) * view.scale;
  }

  function reach(from, next) {
    const seen = new Set([from]);
    for (const at of seen) for (const to of next(at)) seen.add(to);
    return seen;
  }

  function choose(at, move) {
    rows[chosen]?.classList.remove('chosen');
    chosen = at;
    if (at >= 0) fold.open = true;
    detail.hidden = at < 0;
    related = null;
    if (at >= 0) {
      related = new Set([...reach(at, (i) => jobs[i].needs), ...reach(at, (i) => usedBy[i])]);
      rows[at].classList.add('chosen');
      describe(at);
      if (move) centre(at);
    }
    remember();
    draw();
  }

  function element(tag, text, parent, name) {
    const made = parent.appendChild(document.createElement(tag));
    if (text) made.textContent = text;
    if (name) made.className = name;
    return made;
  }

  function describe(at) {
    const job = jobs[at];
    detail.replaceChildren();
    element('h3', `${job.name} ${job.version}`, detail);
    const close = element('button', '×', detail);
    close.type = 'button';
    close.setAttribute('aria-label', 'Close');
    close.onclick = () => choose(-1);
    const state = element('span', '', element('p', '', detail), `state ${job.state}`);
    element('i', job.sign, state).setAttribute('aria-hidden', 'true');
    state.append(job.word);
    if (job.note) element('p', job.note, detail);
    const facts = [`stage ${job.level}`];
    if (job.time) facts.push(job.time);
    if (job.root) facts.push('asked for by name');
    element('p', facts.join(' · '), detail);
    if (critical.has(at)) element('p', '◆ on the critical path', detail, 'mark');
    element('code', job.hash, element('p', '', detail));
    for (const [title, list] of [
      ['Needs', job.needs],
      ['Needed by', usedBy[at]],
    ]) {
      if (list.length === 0) continue;
      element('h4', `${title} ${list.length}`, detail);
      const items = element('ul', '', detail);
      for (const other of list) {
        const target = jobs[other];
        const button = element(
          'button',
          `${target.sign} ${target.name} ${target.version}`,
          element('li', '', items),
        );
        button.type = 'button';
        button.onclick = () => choose(other, true);
      }
    }
    detail.scrollTop = 0;
  }

  function filter() {
    const words = find.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
    const pressed = (selector) => [...document.querySelectorAll(`${selector}[aria-pressed="true"]`)];
    const states = pressed('.filter[data-state]').map((button) => button.dataset.state);
    const path = pressed('#critical').length > 0;
    matching = null;
    if (words.length > 0 || states.length > 0 || path) {
      matching = new Set();
      for (const [at, job] of jobs.entries()) {
        const fits = words.every((word) => texts[at].includes(word));
        if (fits && (states.length === 0 || states.includes(job.state)) && (!path || critical.has(at))) {
          matching.add(at);
        }
      }
    }
    found.textContent = matching ? `${matching.size} of ${jobs.length}` : '';
    for (const [at, row] of rows.entries()) {
      const out = matching !== null && !matching.has(at);
      // Even the same value makes the browser look at the row again.
      if (row.hidden !== out) row.hidden = out;
    }
    remember();
    draw();
  }

  function jobAt(x, y) {
    const px = (x - view.x) / view.scale;
    const py = (y - view.y) / view.scale;
    // A thumb is wider than a small box.
    const slack = Math.max(0, 6 / view.scale - 2);
    return jobs.findIndex((_, at) => {
      const dx = px - left(at);
      const dy = py - top(at);
      return dx >= -slack && dx <= box.width + slack && dy >= -slack && dy <= box.height + slack;
    });
  }

  const pointers = new Map();
  let moved = 0;
  const place = (event) => {
    const { left: x, top: y } = canvas.getBoundingClientRect();
    return { x: event.clientX - x, y: event.clientY - y };
  };
  canvas.addEventListener('pointerdown', (event) => {
    canvas.setPointerCapture(event.pointerId);
    if (pointers.size === 0) moved = 0;
    pointers.set(event.pointerId, place(event));
    canvas.classList.add('grabbing');
  });
  canvas.addEventListener('pointermove', (event) => {
    const before = pointers.get(event.pointerId);
    const now = place(event);
    if (!before) {
      canvas.title = '';
      const at = jobAt(now.x, now.y);
      if (at >= 0) canvas.title = `${jobs[at].name} ${jobs[at].version}: ${jobs[at].word}`;
      return;
    }
    const other = [...pointers].find(([id]) => id !== event.pointerId)?.[1];
    if (other) {
      const apart = (point) => Math.hypot(point.x - other.x, point.y - other.y) || 1;
      zoom(apart(now) / apart(before), (now.x + other.x) / 2, (now.y + other.y) / 2);
      moved = 100;
    } else {
      view.x += now.x - before.x;
      view.y += now.y - before.y;
      moved += Math.abs(now.x - before.x) + Math.abs(now.y - before.y);
      if (moved > 4) draw();
    }
    pointers.set(event.pointerId, now);
  });
  const release = (event) => {
    const held = pointers.delete(event.pointerId);
    if (pointers.size > 0) return;
    canvas.classList.remove('grabbing');
    if (!held || moved > 4 || event.type === 'pointercancel') return;
    const { x, y } = place(event);
    choose(jobAt(x, y));
  };
  canvas.addEventListener('pointerup', release);
  canvas.addEventListener('pointercancel', release);
  canvas.addEventListener(
    'wheel',
    (event) => {
      // The plain wheel scrolls the page; only a wheel with ctrl, which a touchpad's pinch sends too, is for the graph.
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      const { x, y } = place(event);
      zoom(Math.exp(-event.deltaY * (event.deltaMode === 1 ? 0.06 : 0.004)), x, y);
    },
    { passive: false },
  );
  canvas.addEventListener('keydown', (event) => {
    const step = 60;
    const act = {
      ArrowLeft: () => (view.x += step),
      ArrowRight: () => (view.x -= step),
      ArrowUp: () => (view.y += step),
      ArrowDown: () => (view.y -= step),
      '+': () => zoom(1.25),
      '-': () => zoom(0.8),
      0: () => show([]),
      Escape: () => choose(-1),
    }[event.key];
    if (!act) return;
    event.preventDefault();
    act();
    draw();
  });
  document.getElementById('in').onclick = () => zoom(1.4);
  document.getElementById('out').onclick = () => zoom(1 / 1.4);
  document.getElementById('fit').onclick = () => show(matching ? [...matching] : []);
  let turn = -1;
  find.addEventListener('input', () => {
    turn = -1;
    filter();
  });
  find.addEventListener('keydown', (event) => {
    if (event.key === 'Escape') {
      find.value = '';
      filter();
    }
    if (event.key !== 'Enter' || !matching?.size) return;
    turn = (turn + 1) % matching.size;
    choose([...matching][turn], true);
  });
  for (const button of document.querySelectorAll('.filter')) {
    button.onclick = () => {
      button.setAttribute('aria-pressed', String(button.getAttribute('aria-pressed') !== 'true'));
      filter();
      if (button.id === 'critical' && matching) show(data.critical);
    };
  }
  document.querySelector('#jobs tbody').addEventListener('click', (event) => {
    const button = event.target.closest('button');
    if (!button) return;
    choose(Number(button.closest('tr').dataset.at), true);
    canvas.scrollIntoView({ block: 'nearest' });
  });
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
    readColours();
    draw();
  });
  // The address says which job, search and filters are shown: #/NAME/HASH?q=TEXT&state=failed
  let reading = false;
  function remember() {
    if (reading) return;
    const pressed = [...document.querySelectorAll('.filter[aria-pressed="true"]')];
    const query = new URLSearchParams();
    if (find.value) query.set('q', find.value);
    const states = pressed.map((button) => button.dataset.state ?? 'critical');
    if (states.length > 0) query.set('state', states.join(' '));
    const job = chosen < 0 ? '' : `/${encodeURIComponent(jobs[chosen].name)}/${jobs[chosen].hash}`;
    const text = query.size > 0 ? `?${query}` : '';
    try {
      history.replaceState(null, '', `#${job}${text}`);
    } catch {
      // A page without an address has none to change.
    }
  }
  function readAddress() {
    const [path, query] = location.hash.slice(1).split('?');
    const values = new URLSearchParams(query);
    const states = (values.get('state') ?? '').split(' ');
    const hash = path.split('/')[2] ?? '';
    reading = true;
    find.value = values.get('q') ?? '';
    for (const button of document.querySelectorAll('.filter'))
      button.setAttribute('aria-pressed', String(states.includes(button.dataset.state ?? 'critical')));
    filter();
    choose(hash ? jobs.findIndex((job) => job.hash.startsWith(hash)) : -1, true);
    reading = false;
  }
  addEventListener('hashchange', readAddress);

  for (const button of document.querySelectorAll('[data-hash]')) {
    button.onclick = () => {
      choose(
        jobs.findIndex((job) => job.hash === button.dataset.hash),
        true,
      );
      canvas.scrollIntoView({ block: 'nearest' });
    };
  }
  for (const button of document.querySelectorAll('.copy')) {
    const title = button.textContent;
    button.onclick = async () => {
      button.textContent = (await copied(button.dataset.copy)) ? 'Copied' : 'Select and copy it by hand';
      setTimeout(() => {
        button.textContent = title;
      }, 2000);
    };
  }
  async function copied(text) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      // A page from a file may not use the clipboard in every browser.
      const area = document.body.appendChild(document.createElement('textarea'));
      area.value = text;
      area.select();
      const done = document.execCommand('copy');
      area.remove();
      return done;
    }
  }

  const heads = [...document.querySelectorAll('#jobs thead th')];
  for (const [column, head] of heads.entries()) {
    head.querySelector('button').onclick = () => {
      const down = head.getAttribute('aria-sort') === 'ascending';
      for (const one of heads) one.removeAttribute('aria-sort');
      head.setAttribute('aria-sort', down ? 'descending' : 'ascending');
      const isNumber = head.classList.contains('number');
      const value = (row) => {
        const cell = row.cells[column];
        return isNumber ? Number(cell.dataset.value ?? cell.textContent) : cell.textContent;
      };
      const compare = isNumber ? (a, b) => a - b : new Intl.Collator().compare;
      const sorted = rows
        .map((row) => ({ row, value: value(row) }))
        .sort((a, b) => compare(a.value, b.value) * (down ? -1 : 1));
      document.querySelector('#jobs tbody').append(...sorted.map(({ row }) => row));
    };
  }

  let fitted0 = false;
  new ResizeObserver(() => {
    if (canvas.clientWidth === 0) return;
    if (fitted0) draw();
    else if (chosen >= 0) centre(chosen);
    else first();
    fitted0 = true;
    draw();
  }).observe(canvas);
  readColours();
  if (location.hash.length > 1) readAddress();
})();
