"""Recipes: small folders from which others can repeat a run.

    from axolotl_dmt.recipes.fetch import load
    from axolotl_dmt.recipes.recipe import read_recipe

    recipe = read_recipe(load("hf://user/repository"))  # or a folder, a zip file, a YAML
    print(recipe.findings)  # the settings that need the user's consent

`export` makes a recipe from a run, and `push` uploads it. `strict_yaml` and `safety` check a YAML
by an unknown author, and `show` describes a recipe in the terminal.
"""
