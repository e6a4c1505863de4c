// openapi.yaml and openapi.json as they lie in this folder; made by embed.py when the tree is
// built.
#pragma once

#include <stddef.h>

extern const unsigned char contract_yaml[], contract_json[];
extern const size_t contract_yaml_size, contract_json_size;
