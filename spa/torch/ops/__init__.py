"""How each operator is computed in torch: a file per family, a function per operator."""
