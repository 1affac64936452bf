#!/bin/sh
# A build that ships a pruned model: build.sh MODEL GATE...
# It runs in an empty folder; whatever the gates say decides whether it gets to its last line.
set -eu
model=$1
shift
spa prune "$model" --ratio 0.3 --scorer l2 --output slim.onnx --report report.md --report ci.xml "$@"
cp slim.onnx shipped.onnx
