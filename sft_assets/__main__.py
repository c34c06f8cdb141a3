from sft_assets.cli import main

main()
