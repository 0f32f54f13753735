#!/bin/sh


# spack install command
set -e
"spack" "-e" "/work/wt-build/bench/.work/run/stack" "bootstrap" "now"

"spack" "--color=always" "--backtrace" "--verbose" "install" "--use-buildcache=package:never,dependencies:only" "--fail-fast" "--only=dependencies" "/hocoygzxdt3joeunr4qllim24bqkuvhh"

"spack" "--color=always" "--backtrace" "--verbose" "install" "--use-buildcache=package:never,dependencies:only" "--fail-fast" "--keep-stage" "--only=package" "/hocoygzxdt3joeunr4qllim24bqkuvhh"

