/** The site of the documentation: npm run docs. */
export default {
  title: 'Stackwright',
  description: 'From a Spack environment to signed binaries and a published container image.',
  cleanUrls: true,
  // A site may lie below any path: STACKWRIGHT_DOCS_BASE=/stackwright/ for GitHub's pages.
  base: process.env.STACKWRIGHT_DOCS_BASE ?? '/',
  // Files of the repository outside of docs/ are no pages.
  ignoreDeadLinks: [/^\.\/(?:\.\.\/)+(?:SECURITY|CONTRIBUTING|(?:apps|packages|stacks)\/)/],
  // Text in double braces is GitHub's syntax here, and nothing that Vue is to fill in.
  markdown: {
    config: (markdown) => {
      markdown.renderer.rules.code_inline = (tokens, index) =>
        `<code v-pre>${markdown.utils.escapeHtml(tokens[index].content)}</code>`;
    },
  },
  themeConfig: {
    search: { provider: 'local' },
    outline: [2, 3],
    sidebar: [
      {
        text: 'Guides',
        items: [
          { text: 'Why Stackwright', link: '/why' },
          { text: 'Stacks', link: '/guide/stack' },
          { text: 'Move from spack ci', link: '/guide/adopt' },
          { text: 'Mirrors', link: '/guide/mirror' },
          { text: 'Keys', link: '/guide/keys' },
          { text: 'CI', link: '/guide/ci' },
          { text: 'Reports', link: '/guide/report' },
          { text: "Leave DockerHub's builds", link: '/guide/dockerhub' },
        ],
      },
      {
        text: 'Reference',
        items: [
          { text: 'Commands', link: '/commands' },
          { text: 'Environment variables', link: '/variables' },
          { text: 'Error codes', link: '/errors' },
        ],
      },
      {
        text: 'Inside',
        items: [
          { text: 'Architecture', link: '/architecture' },
          { text: 'Security', link: '/security' },
          { text: 'Decisions', link: '/decisions' },
          { text: 'Mutants', link: '/mutants' },
        ],
      },
    ],
  },
};
